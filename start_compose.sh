#!/usr/bin/env bash
# Start PostgreSQL and the platform in containers, with docker or podman.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat << 'END'
Usage:
./start_compose.sh [--dev | --prod] (any other args to pass to docker, e.g. --build)
  --dev:  compose.dev.yaml with config/.env.dev: no sign-in, published on 127.0.0.1 only (the default)
  --prod: compose.prod.yaml with config/.env.prod: every request needs TUNESMITH_API_KEY
  --help: this text

The other arguments go to `compose up`; if the first of them is a word, it is the compose command instead:
  ./start_compose.sh --dev --build --detach
  ./start_compose.sh --dev logs --follow
  ./start_compose.sh --dev down

COMPOSE names the program; otherwise the first that works of
  docker compose, docker-compose, podman compose, podman-compose
END
}

fail() {
  printf 'start_compose.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

compose_program() {
  local candidate
  if [ -n "${COMPOSE:-}" ]; then
    echo "$COMPOSE"
    return
  fi
  for candidate in "docker compose" docker-compose "podman compose" podman-compose; do
    if $candidate version > /dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

mode=
arguments=()
for argument in "$@"; do
  case $argument in
    --dev | --prod)
      [ -z "$mode" ] || [ "$mode" = "${argument#--}" ] || fail "--dev and --prod exclude one another" 2
      mode=${argument#--}
      ;;
    --help | -h) usage; exit ;;
    *) arguments+=("$argument") ;;
  esac
done
mode=${mode:-dev}

env_file=config/.env.$mode
[ -f "$env_file" ] || fail "$env_file is missing; make it with
  cp config/.example.env $env_file
and set POSTGRES_PASSWORD in it (and TUNESMITH_API_KEY for --prod); every variable is explained there"

program=$(compose_program) || fail "found no docker compose, docker-compose, podman compose or podman-compose; install one \
(on Debian and Ubuntu: apt-get install podman podman-compose), or name it in COMPOSE"

case ${arguments[0]:-} in
  "" | -*) arguments=(up ${arguments[@]+"${arguments[@]}"})  # an empty array counts as unset in old bash ;;
esac
exec $program --project-name "tunesmith-$mode" --file "compose.$mode.yaml" --env-file "$env_file" "${arguments[@]}"

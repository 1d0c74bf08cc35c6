# The platform in one image: compose.dev.yaml and compose.prod.yaml differ by their environment only.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt
COPY README.md LICENSE ./
COPY platform platform
COPY serve_app serve_app
COPY tuners tuners
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:3.11-slim
# curl is for command templates; trials run in bash, which the base image has
RUN apt-get update \
 && apt-get install --yes --no-install-recommends curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 tunesmith \
 && install --directory --owner=tunesmith --group=tunesmith /data
COPY --from=build /src/requirements.txt /tmp/
COPY constraints.txt /tmp/
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt --requirement /tmp/requirements.txt
COPY --from=build /dist /tmp/dist
RUN pip install --no-cache-dir --no-deps /tmp/dist/*.whl

ENV PYTHONUNBUFFERED=1 \
    TUNESMITH_DATA_DIR=/data
USER tunesmith
WORKDIR /home/tunesmith
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ.get('TUNESMITH_PORT', '8000') + '/health', timeout=4)"]
CMD ["tunesmith", "up"]

"""The peer of bench_asking.py, run in a virtual environment of its own: OSS Vizier's gRPC service, random policy.

python raw_vizier.py CLIENTS SECONDS     prints suggest-and-complete pairs per second
"""

# mypy: ignore-errors
from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
import time


def serve(folder: str, endpoint: multiprocessing.SimpleQueue) -> None:
    """The server, in a process of its own, with its SQLite on disk."""
    from vizier.service import servers

    server = servers.DefaultVizierServer(database_url=f"sqlite:///{folder}/vizier.db")
    endpoint.put(server.endpoint)
    time.sleep(1e9)


def main() -> None:
    from vizier.service import clients
    from vizier.service import pyvizier as vz

    count, seconds = int(sys.argv[1]), float(sys.argv[2])
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        endpoint = context.SimpleQueue()
        server = context.Process(target=serve, args=(folder, endpoint), daemon=True)
        server.start()
        clients.environment_variables.server_endpoint = endpoint.get()
        config = vz.StudyConfig(algorithm="RANDOM_SEARCH")
        for name in "abcde":
            config.search_space.root.add_float_param(name, -5, 5)
        config.metric_information.append(vz.MetricInformation("loss", goal=vz.ObjectiveMetricGoal.MINIMIZE))
        study = clients.Study.from_study_config(config, owner="bench", study_id="bench")
        begin = time.perf_counter() + 2
        pairs = [0] * count

        def work(client: int) -> None:
            while (now := time.perf_counter()) < begin + seconds:
                for suggestion in study.suggest(count=1, client_id=f"w{client}"):
                    value = sum(x * x for x in suggestion.parameters.values())
                    suggestion.complete(vz.Measurement({"loss": value}))
                pairs[client] += now >= begin

        threads = [threading.Thread(target=work, args=(client,)) for client in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.kill()
    print(sum(pairs) / seconds)


if __name__ == "__main__":
    main()

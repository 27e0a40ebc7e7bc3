"""The process that runs llama.cpp: `python -m omni_language.worker`.

It reads one line of JSON settings from stdin, loads the model with llama.cpp's own server (slots,
prefix cache, grammars, chat templates), answers one line of JSON on stdout, and lives until its
stdin closes, so it can't outlive the process that started it. A process of its own because
llama.cpp ends the process on a failed assertion and takes over SIGINT and SIGTERM: both must not
happen to the conversation.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def make_params(settings: dict[str, Any]) -> Any:
    """llama.cpp's parameters for `settings` (keys as in `LlamaServer.settings`)."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context"] * settings["slots"]
    params.n_batch = params.n_ubatch = settings["batch"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.n_gpu_layers = settings["gpu_layers"]
    params.hostnames = [settings["host"]]
    params.port = settings["port"]
    params.api_keys = [settings["key"]]
    # One thread is held by each open connection, also by an idle one that is kept alive.
    params.n_threads_http = 4 * settings["slots"] + 8
    # The weights are repacked for the CPU's vector units into memory of their own; mapping the file as well
    # would keep it resident twice (2.1 GB instead of 1.5 GB for the 1.5 B model).
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.cache_ram_mib = 0
    params.endpoint_slots = True
    params.ui = False
    params.warmup = True
    params.verbosity = -1
    return params


def main() -> None:
    """Serve until stdin closes."""
    settings = json.loads(sys.stdin.readline())
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the library prints goes to the log, never between our lines
    try:
        import xllamacpp

        server = xllamacpp.Server(make_params(settings))
    except Exception as error:  # reported to the parent, which makes a sentence of it
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answer, flush=True)
        os._exit(1)
    print(json.dumps({"address": server.listening_address}), file=answer, flush=True)
    while sys.stdin.read(4096):
        pass
    os._exit(0)  # nothing to save; the library's own shutdown waits for idle connections


if __name__ == "__main__":
    main()

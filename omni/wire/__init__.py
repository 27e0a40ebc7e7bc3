"""How a plugin elsewhere is reached: values as bytes (codec), shared memory (arena), calls and streams (peer).

A `Peer` needs a `Link` alone (send and receive whole messages): another way of reaching a plugin is another
link. `process` is the one to a process of this machine.
"""

"""Never comes back from its registration."""

import threading

from unbroken import Plugin as Unbroken

from omni.host.hookspecs import hookimpl


class Plugin(Unbroken):
    @hookimpl
    def omni_capabilities(self):
        threading.Event().wait()


plugin = Plugin()

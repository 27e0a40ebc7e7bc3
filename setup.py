"""Puts the folder `config/` into the wheel as `omni/defaults`; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithDefaults(build_py):
    """Copies `config/` beside the modules. An editable install reads it from the checkout instead."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree("config", Path(self.build_lib) / "omni" / "defaults", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithDefaults})

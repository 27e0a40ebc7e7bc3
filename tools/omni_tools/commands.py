"""`omni calc`: the calculator on the command line."""

from __future__ import annotations

import typer

app = typer.Typer(help="Calculate exactly: arithmetic, percentages, units, equations.", no_args_is_help=True)


@app.callback(invoke_without_command=True)
def calc(words: list[str] = typer.Argument(..., help='e.g. "20 % of 42.50" or "10 km in miles"')) -> None:
    """Calculate exactly: arithmetic, percentages, units, equations."""
    from omni.errors import OmniError
    from omni_tools.calculator import answer

    try:
        found = answer(" ".join(words))
    except OmniError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    exact = found.as_json().get("exact")
    typer.echo(f"{found.decimal} {found.unit}".strip() + (f"  (exactly {exact})" if exact else ""))

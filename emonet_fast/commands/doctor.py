"""`emonet-fast doctor`: what this machine can do."""

import json

import click

from . import options as opt


@opt.command(
    ("What this machine can do, to read:", ""), ("The same for a program, or for a report of a fault:", "--json")
)
@opt.OUTPUT("--json as_json", "Print JSON, for programs.", is_flag=True)
def doctor(as_json: bool) -> None:
    """Say what this machine can do, and why not."""
    from .. import doctor as machine

    facts = machine.report()
    click.echo(json.dumps(facts, indent=1) if as_json else machine.text(facts))

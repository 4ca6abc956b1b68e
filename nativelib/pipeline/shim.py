"""``shim``: the lenient hook for source trees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nativelib.facts.provider import ProviderKind
from nativelib.pipeline.consumer import RepairRequest, read_needs, read_providers
from nativelib.plan.hooks import TEMPLATE_FILE, provider_value
from nativelib.plan.options import RepairOptions
from nativelib.plan.requirement import specifier
from nativelib.plan.shim import needed_of, used_of
from nativelib.plan.values import HOOK_BEGIN, HOOK_END
from nativelib.write.render import render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ShimRequest:
    """For which providers a hook is wanted."""

    provided_by: tuple[str, ...]
    for_wheel: Path | None = None
    """Consumer whose needs the hook is to name; ``None`` for everything that the providers offer."""
    import_providers: frozenset[str] = frozenset()
    options: RepairOptions = field(default_factory=RepairOptions)
    python: str | None = None
    ldpaths: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


def make_shim(request: ShimRequest) -> str:
    """Return the text of a lenient ``_distributor_init.py``: where a provider is not installed, it does nothing.

    Raises NativelibError if a provider cannot be read, or has nothing that the wheel needs.
    """
    asked = RepairRequest(
        wheels=(request.for_wheel,) if request.for_wheel is not None else (),
        provided_by=request.provided_by,
        import_providers=request.import_providers,
        options=request.options,
        python=request.python,
        ldpaths=request.ldpaths,
        environ=request.environ,
    )
    providers = read_providers(asked)
    needs = read_needs(request.for_wheel, providers, asked).needs if request.for_wheel is not None else None
    values = [
        provider_value(
            provider,
            specifier(provider, used_of(provider), pin=request.options.pin),
            needed_of(provider, needs),
        )
        for provider in sorted(providers, key=lambda provider: (provider.kind is not ProviderKind.OWN, provider.name))
    ]
    return render(
        TEMPLATE_FILE, {"begin": HOOK_BEGIN, "end": HOOK_END, "strict": False, "providers": values, "hints": []}
    )

"""Parts from outside the package are tried before a recipe is: are they what they say they are?

A part is made, then run once on torch's "meta" device, where tensors have shapes and no numbers.
Whatever a stranger's code does wrong there becomes one message that names the part.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from gimstage.errors import GimstageError, RecipeError
from gimstage.modules import EncoderModule, multiply_adds
from gimstage.objectives import Objective, Result, empty_labels, objective_multiply_adds
from gimstage.recipe.chain import Chain
from gimstage.specs import EncoderTable, Shape

_SAMPLES = 2  # a part may compare samples, or take statistics over them


def try_construction(chain: Chain, where: str) -> None:
    """Make the last stage's modules: do constructors run, and set what they must?

    Raises:
        RecipeError: one from outside the package cannot be made, or lacks something.
    """
    tables = chain.last.spec.parts
    if not any(":" in table.kind for table in tables):
        return
    channels, shape = chain.data.in_channels, chain.modality.unit_shape
    for module in chain.upstream.modules() if chain.upstream else ():
        channels, shape = module.out_channels, chain.after(module, shape)
    for table in tables:
        place = f"{where} [module] kind"
        expected = f"a constructor that takes in_channels = {channels} and the table's keys"
        with _named(place, f'"{table.kind}" cannot be made', expected), torch.device("meta"):
            module = table.build(channels)
        _check_attributes(table, module, place)
        _check_shapes(table, module, chain.modality.unit_of(module, shape), place)
        channels, shape = module.out_channels, chain.after(module, shape)


def _check_attributes(table: EncoderTable, module: EncoderModule, place: str) -> None:
    names = ["in_channels", "out_channels", "code_channels"]
    names += ["stride"] if module.reads == "sequence" else []
    if missing := [name for name in names if not hasattr(module, name)]:
        found = f'"{table.kind}" without {", ".join(missing)}'
        raise RecipeError(place, found, expected="all set by its constructor")
    for name in names:
        if type(value := getattr(module, name)) is not int:
            found = f'"{table.kind}" with {name} = {value!r}'
            raise RecipeError(place, found, expected="a whole number")


def _check_shapes(table: EncoderTable, module: EncoderModule, unit: Shape, place: str) -> None:
    for ask in (module.output_shape, module.code_shape):
        says = f"{ask.__name__}({unit})"
        expected = "whole numbers, the shape of what it makes"
        with _named(place, f'"{table.kind}" fails at {says}', expected):
            shape = ask(unit)
        if not (isinstance(shape, tuple) and all(type(size) is int for size in shape)):
            found = f'"{table.kind}", whose {says} is {shape!r}'
            raise RecipeError(place, found, expected)


def try_modules(chain: Chain, where: str) -> None:
    """Run the last stage's modules from outside the package: do they make what they promise?

    Raises:
        RecipeError: one fails, or makes other shapes.
    """
    shape = chain.shapes()[-2]
    for table, module in zip(chain.last.spec.parts, chain.modules()[-1].parts, strict=True):
        if ":" in table.kind:
            _try_module(table.kind, module, chain.modality.unit_of(module, shape), where)
        shape = chain.after(module, shape)


@torch.no_grad()
def _try_module(kind: str, module: EncoderModule, unit: Shape, where: str) -> None:
    inputs = (_SAMPLES, *unit)
    with _named(
        f"{where} [module] kind",
        f'"{kind}" fails on an input {sizes(inputs)}',
        expected="a module that runs on torch's meta device",
        cure="see that it reads what its `reads` says, and asks no tensor for its values",
    ):
        made = module.outputs(torch.empty(inputs, device="meta"))
        int(multiply_adds(module, unit))
    contexts = (*made.codes.shape[:-1], module.context_channels)
    if module.code_layout == "local and global":  # global codes lie on a grid of their own
        contexts = (*made.contexts.shape[:-1], module.context_channels)
    for name, tensor, promised, by in (
        ("features", made.features, (_SAMPLES, *module.output_shape(unit)), "output_shape"),
        ("codes", made.codes, (_SAMPLES, *module.code_shape(unit)), "code_shape"),
        ("contexts", made.contexts, contexts, "context_channels"),
    ):
        if tuple(tensor.shape) != promised:
            raise RecipeError(
                f"{where} [module] kind",
                f'"{kind}", which makes {name} {sizes(tensor.shape)} of {sizes(inputs)}',
                expected=f"{sizes(promised)}, as its {by} says",
                cure=f"mend {by} or forward of {kind.partition(':')[2]}",
            )


def try_objectives(chain: Chain, where: str) -> None:
    """Run the last stage's losses from outside the package: does a scalar loss come out?

    Raises:
        RecipeError: one cannot be made, fails, or returns something else.
    """
    tables, shape = chain.last.spec.losses, chain.shapes()[-2]
    if not any(table and ":" in table.kind for table in tables):
        return
    place = f"{where} [objective] kind"
    for table, module in zip(tables, chain.modules()[-1].parts, strict=True):
        if table and ":" in table.kind:
            unit = chain.modality.unit_of(module, shape)
            expected = "a constructor that takes what its module gives and the table's keys"
            with _named(place, f'"{table.kind}" cannot be made', expected), torch.device("meta"):
                objective = table.build(module, unit, chain.modality.crop_frames)
            _try_objective(table.kind, objective, module, chain=chain, shape=shape, place=place)
        shape = chain.after(module, shape)


def _try_objective(
    kind: str,
    objective: Objective,
    module: EncoderModule,
    *,
    chain: Chain,
    shape: Shape,
    place: str,
) -> None:
    """Try an objective on the codes that its module makes of units of `shape`."""
    whole_grid = module.reads == "grid"
    crop = chain.modality.unit_of(module, shape) if whole_grid else chain.modality.crop_shape(shape)
    frames = chain.modality.crop_frames
    with torch.no_grad():
        z, c = module.codes_and_contexts(torch.empty((_SAMPLES, *crop), device="meta"))
    z, c = z.requires_grad_(), c.requires_grad_()
    with _named(
        place,
        f'"{kind}" fails on codes {sizes(z.shape)}',
        expected="a loss that runs on torch's meta device",
        cure="see that it asks no tensor for its values",
    ):
        draws = objective.draw(z.shape, torch.Generator().manual_seed(0))
        result = objective(z, c, draws, empty_labels(objective, z.shape, frames))
        int(objective_multiply_adds(objective, z.shape[1:], c.shape[-1], frames=frames))
        _, _ = objective.too_short(chain.modality.length(chain.after(module, shape))) or ("", 0)
    _check_result(kind, result, place)


def _check_result(kind: str, result: Result, place: str) -> None:
    expected = "a gimstage.Result of a scalar loss, losses (K,) of steps and a scalar accuracy"
    if not isinstance(result, Result):
        found = f'"{kind}", which returns {type(result).__name__}'
        raise RecipeError(place, found, expected)
    for name, axes in (("loss", 0), ("loss_per_step", 1), ("accuracy", 0)):
        value = getattr(result, name)
        if not isinstance(value, torch.Tensor):
            found = f'"{kind}", whose {name} is a {type(value).__name__}'
            raise RecipeError(place, found, expected)
        if value.ndim != axes:
            found = f'"{kind}", whose {name} is of shape {tuple(value.shape)}'
            raise RecipeError(place, found, expected)
    if not result.loss.requires_grad:
        found = f'"{kind}", which returns a loss without gradient'
        raise RecipeError(place, found, expected="one that follows from the codes or contexts")


@contextmanager
def _named(place: str, found: str, expected: str, cure: str = "") -> Iterator[None]:
    """Turn whatever a stranger's code raises into one message that names the part."""
    try:
        yield
    except GimstageError:
        raise
    except (Exception, SystemExit) as error:
        says = f"{found}: {type(error).__name__}: {error}"
        raise RecipeError(place, says, expected, cure) from error


def sizes(shape: Sequence[int]) -> str:
    """A shape in words: "2 × 16 × 16"."""
    return " × ".join(map(str, shape))

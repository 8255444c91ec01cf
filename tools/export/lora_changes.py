"""The change of a weight that the tensors of one module in a LoRA file stand for.

Kinds: LoRA (Hu et al. 2021, section 4.1), DoRA (Liu et al. 2024, equation 5), LoHa (Hyeon-Woo et al. 2022,
proposition 2), LoKr (Yeh et al. 2024, section 3.2), and full differences.
"""

import torch

Parts = dict[str, torch.Tensor]
# The tensors that each kind needs; one of its alternatives has to be complete.
KINDS: dict[str, list[set[str]]] = {
    "LoRA": [{"down", "up"}],
    "LoHa": [{"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}],
    "LoKr": [
        {first, *second}
        for first in ("lokr_w1", "lokr_w1_a")
        for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))
    ],
    "difference": [{"diff"}, {"diff_b"}],
}


def kind_of(parts: Parts) -> str:
    """Returns the kind of change by the names of its tensors."""
    names = parts.keys()
    if any(name.startswith("hada_") for name in names):
        return "LoHa"
    if any(name.startswith("lokr_") for name in names):
        return "LoKr"
    return "difference" if names & {"diff", "diff_b"} else "LoRA"


def is_complete(parts: Parts) -> bool:
    """Whether every tensor that the kind needs is there."""
    return any(needed <= parts.keys() for needed in KINDS[kind_of(parts)])


def rank_of(parts: Parts) -> int | None:
    """Rank of the low-rank matrices; None if the change has none."""
    for name in ("down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b"):
        if name in parts:
            return parts[name].shape[0]
    return None


def changed(weight: torch.Tensor, parts: Parts, scale: float, strength: float) -> torch.Tensor:
    """Returns the weight with a change.

    scale: alpha / rank, which belongs to the change
    strength: the user's factor; 0 leaves the weight as it is
    Raises RuntimeError when shapes do not fit.
    """
    new = weight + scale * _difference(parts, weight.shape).reshape(weight.shape)
    if "magnitude" in parts:
        new = _decomposed(new, parts["magnitude"].float())
    return weight + strength * (new - weight)


def _difference(parts: Parts, shape: torch.Size) -> torch.Tensor:
    parts = {name: tensor.float() for name, tensor in parts.items()}
    kind = kind_of(parts)
    if kind == "difference":
        return parts["diff"]
    if kind == "LoHa":
        return _hadamard(parts)
    if kind == "LoKr":
        return _kronecker(parts, shape)
    down, up = parts["down"], parts["up"]
    if "mid" in parts:
        return torch.einsum("or,rskl,si->oikl", up.flatten(1), parts["mid"], down.flatten(1))
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])


def _hadamard(parts: Parts) -> torch.Tensor:
    def factor(i: int) -> torch.Tensor:
        outer, inner = parts[f"hada_w{i}_a"], parts[f"hada_w{i}_b"]
        core = parts.get(f"hada_t{i}")
        if core is None:
            return outer @ inner
        return torch.einsum("ijkl,jr,ip->prkl", core, inner, outer)

    return factor(1) * factor(2)


def _kronecker(parts: Parts, shape: torch.Size) -> torch.Tensor:
    def factor(i: int) -> torch.Tensor:
        whole = parts.get(f"lokr_w{i}")
        if whole is not None:
            return whole
        outer, inner = parts[f"lokr_w{i}_a"], parts[f"lokr_w{i}_b"]
        core = parts.get("lokr_t2") if i == 2 else None
        if core is None:
            return outer @ inner
        return torch.einsum("ijkl,ip,jr->prkl", core, outer, inner)

    first, second = factor(1), factor(2)
    if second.dim() == 2 and len(shape) == 4 and second.numel() * first.numel() == shape.numel():
        second = second.reshape(second.shape[0], -1, *shape[2:])
    return torch.kron(first.reshape(*first.shape, *[1] * (second.dim() - first.dim())), second.contiguous())


def _decomposed(weight: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """DoRA: the direction of the weight with another norm, of rows or (LyCORIS) of columns."""
    rows, columns = weight.shape[:2]
    by_row = magnitude.numel() == rows and (magnitude.dim() == 1 or magnitude.shape[0] == rows)
    if not by_row and magnitude.numel() != columns:
        raise RuntimeError(f"a magnitude of {list(magnitude.shape)}")
    axis = 0 if by_row else 1
    others = [i for i in range(weight.dim()) if i != axis]
    shape = [-1 if i == axis else 1 for i in range(weight.dim())]
    return weight * (magnitude.reshape(shape) / torch.linalg.vector_norm(weight, dim=others, keepdim=True))

"""Small models in the original key layouts, written after the original code. They share no code with
tools/export.
"""

from itertools import pairwise

import torch
from torch import nn

WORDS = 40


def shake(model: nn.Module) -> nn.Module:
    """Randomizes all parameters: a bias or norm with its initial value would hide a mistake."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        scale = 0.3 if weight.dim() <= 1 else 2.0 / weight[0].numel() ** 0.5
        start = (
            1.0
            if weight.dim() == 1 and ("norm" in name.lower() or "ln_" in name) and name.endswith("weight")
            else 0.0
        )
        weight.data = start + scale * torch.randn(weight.shape, generator=generator)
    return model.eval()


class Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class VitAttention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, c // 64, 64).permute(2, 0, 3, 1, 4)
        return self.proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c))


class VitBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = VitAttention(width), Mlp(width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """vit.py of BLIP, after timm."""

    def __init__(self, width: int, layers: int, size: int, patch: int):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.ModuleList(VitBlock(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pixels):
        x = self.patch_embed.proj(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class BertAttention(nn.Module):
    def __init__(self, width: int, source: int):
        super().__init__()
        self.self, self.output = nn.Module(), nn.Module()
        self.self.query, self.self.key, self.self.value = (
            nn.Linear(width, width),
            nn.Linear(source, width),
            nn.Linear(source, width),
        )
        self.output.dense, self.output.LayerNorm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, source, mask=None):
        def heads(tensor):
            return tensor.unflatten(-1, (-1, 64)).transpose(1, 2)

        q, k, v = heads(self.self.query(x)), heads(self.self.key(source)), heads(self.self.value(source))
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        return self.output.LayerNorm(self.output.dense(y) + x)


class BertLayer(nn.Module):
    def __init__(self, width: int, source: int):
        super().__init__()
        self.attention, self.crossattention = BertAttention(width, width), BertAttention(width, source)
        self.intermediate, self.output = nn.Module(), nn.Module()
        self.intermediate.dense = nn.Linear(width, 2 * width)
        self.output.dense, self.output.LayerNorm = nn.Linear(2 * width, width), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, picture, mask):
        x = self.crossattention(self.attention(x, x, mask), picture)
        return self.output.LayerNorm(self.output.dense(nn.functional.gelu(self.intermediate.dense(x))) + x)


class Bert(nn.Module):
    """med.py of BLIP with cross-attention, as an encoder."""

    def __init__(self, words: int, width: int, layers: int, source: int):
        super().__init__()
        self.embeddings, self.encoder = nn.Module(), nn.Module()
        self.embeddings.register_buffer("position_ids", torch.arange(64)[None])
        self.embeddings.word_embeddings, self.embeddings.position_embeddings = (
            nn.Embedding(words, width),
            nn.Embedding(64, width),
        )
        self.embeddings.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.encoder.layer = nn.ModuleList(BertLayer(width, source) for _ in range(layers))

    def forward(self, ids, mask, picture):
        x = self.embeddings.word_embeddings(ids) + self.embeddings.position_embeddings(
            self.embeddings.position_ids[:, : ids.shape[1]]
        )
        x = self.embeddings.LayerNorm(x)
        for layer in self.encoder.layer:
            x = layer(x, picture, mask[:, None, None, :].bool())
        return x


class Head(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        sizes = [width, 24, 12, 8, 4, 1]
        linear = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        drop = [nn.Dropout(0.2) for _ in range(3)]
        self.layers = nn.Sequential(
            linear[0], drop[0], linear[1], drop[1], linear[2], drop[2], linear[3], linear[4]
        )


class OriginalImageReward(nn.Module):
    """ImageReward.py of the package, small: pictures of 32 x 32 in patches of 8, a vocabulary of WORDS + 2
    tokens.
    """

    def __init__(self):
        super().__init__()
        self.blip = nn.Module()
        self.blip.visual_encoder = Vit(128, 2, 32, 8)
        self.blip.text_encoder = Bert(WORDS + 2, 64, 2, 128)
        self.blip.vision_proj, self.blip.text_proj = nn.Linear(128, 16), nn.Linear(64, 16)
        self.mlp = Head(64)

    def forward(self, pixels, ids, mask):
        words = self.blip.text_encoder(ids, mask, self.blip.visual_encoder(pixels))
        return (self.mlp.layers(words[:, 0]) - 0.16717362830052426) / 1.0333394966054072


class QuickGelu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class ClipBlock(nn.Module):
    def __init__(self, width: int, head: int, act: nn.Module):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // head, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 2 * width))
        self.mlp.add_module("gelu", act)
        self.mlp.add_module("c_proj", nn.Linear(2 * width, width))

    def forward(self, x, mask):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, head: int, act: nn.Module):
        super().__init__()
        self.resblocks = nn.ModuleList(ClipBlock(width, head, act) for _ in range(layers))

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class ClipVision(nn.Module):
    def __init__(self, width: int, head: int, act: nn.Module):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 8, 8, bias=False)
        self.class_embedding, self.positional_embedding = (
            nn.Parameter(torch.zeros(width)),
            nn.Parameter(torch.zeros(17, width)),
        )
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, 2, head, act)
        self.proj = nn.Parameter(torch.zeros(width, 16))

    def forward(self, pixels):
        x = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class OriginalClip(nn.Module):
    """model.py of OpenAI's CLIP, small: pictures of 32 x 32 in patches of 8, 12 tokens, embeddings of 16
    numbers.
    """

    def __init__(self, act: nn.Module, width: int = 128, head: int = 64):
        super().__init__()
        self.visual = ClipVision(width, head, act)
        self.transformer = Transformer(64, 2, 64, act)
        self.token_embedding = nn.Embedding(49408, 64)
        self.positional_embedding, self.text_projection = (
            nn.Parameter(torch.zeros(12, 64)),
            nn.Parameter(torch.zeros(64, 16)),
        )
        self.ln_final = nn.LayerNorm(64)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, pixels, ids):
        mask = torch.full((12, 12), float("-inf")).triu(1)
        x = self.ln_final(self.transformer(self.token_embedding(ids) + self.positional_embedding, mask))
        return self.visual(pixels), x[torch.arange(len(x)), ids.argmax(-1)] @ self.text_projection

# SPDX-License-Identifier: Apache-2.0
"""Peer baseline: tensor parallelism written by hand, Megatron's way: torch matmuls on shards (one thread per rank), in-place MPI all-reduce.
usage: mpirun -n 2 python hand_tp.py --seq 128 [--dtype bfloat16] [--decode]; prints one JSON line on rank 0."""
import argparse, json, time, statistics as st, math
from mpi4py import MPI
import numpy as np, torch
import torch.nn.functional as F
p = argparse.ArgumentParser(); p.add_argument("--seq", type=int, default=128); p.add_argument("--dtype", default="float32"); p.add_argument("--decode", action="store_true"); p.add_argument("--iters", type=int, default=15)
a = p.parse_args(); comm = MPI.COMM_WORLD; t, r = comm.size, comm.rank
if t > 1: torch.set_num_threads(1)
H, I, L, NH, KV, V, D = 1024, 2816, 8, 16, 8, 32000, 64
dt = getattr(torch, a.dtype); g = torch.Generator().manual_seed(r)
w = lambda o, i: (torch.randn(o, i, generator=g) * 0.02).to(dt)
nh, kv, inter = NH // t, KV // t, I // t
layers = [dict(qkv=w((nh + 2 * kv) * D, H), o=w(H, nh * D), gu=w(2 * inter, H), d=w(H, inter), n1=torch.ones(H, dtype=dt), n2=torch.ones(H, dtype=dt)) for _ in range(L)]
emb = w(V, H); head = w(V // t, H); nf = torch.ones(H, dtype=dt)
S0 = 128 if a.decode else 0; S = 1 if a.decode else a.seq
inv = 1 / 10000 ** (torch.arange(0, D, 2) / D); ang = torch.outer(torch.arange(S0, S0 + S), inv); cos = torch.cat([ang.cos()] * 2, 1).to(dt); sin = torch.cat([ang.sin()] * 2, 1).to(dt)
cache = [(torch.randn(1, kv, S0, D).to(dt), torch.randn(1, kv, S0, D).to(dt)) for _ in range(L)]
rope = lambda x: x * cos + torch.cat([-x[..., D // 2:], x[..., :D // 2]], -1) * sin
def allreduce(x):
    if t == 1: return x
    if x.dtype == torch.bfloat16:
        y = x.float().contiguous(); comm.Allreduce(MPI.IN_PLACE, y.numpy()); return y.to(dt)
    x = x.contiguous(); comm.Allreduce(MPI.IN_PLACE, x.numpy()); return x
def step(ids):
    x = F.embedding(ids, emb)
    for i, l in enumerate(layers):
        h = F.rms_norm(x, (H,), l["n1"], 1e-6); q, k, v = (h @ l["qkv"].T).split([nh * D, kv * D, kv * D], -1)
        q = rope(q.view(1, S, nh, D).transpose(1, 2)); k = rope(k.view(1, S, kv, D).transpose(1, 2)); v = v.view(1, S, kv, D).transpose(1, 2)
        if a.decode: k, v = torch.cat([cache[i][0], k], 2), torch.cat([cache[i][1], v], 2)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=not a.decode, enable_gqa=True).transpose(1, 2).reshape(1, S, nh * D)
        x = x + allreduce(o @ l["o"].T); h = F.rms_norm(x, (H,), l["n2"], 1e-6); gu = h @ l["gu"].T
        x = x + allreduce((F.silu(gu[..., :inter]) * gu[..., inter:]) @ l["d"].T)
    return F.rms_norm(x[:, -1:], (H,), nf, 1e-6) @ head.T
ids = torch.arange(S).view(1, S) % V; ts = []
with torch.inference_mode():
    for _ in range(a.iters + 3):
        comm.Barrier(); s = time.perf_counter(); step(ids); comm.Barrier(); ts.append(time.perf_counter() - s)
ts = sorted(ts[3:])
if r == 0: print(json.dumps(dict(peer="hand-written torch + MPI", ranks=t, dtype=a.dtype, seq=a.seq, decode=a.decode, ms_min=round(ts[0] * 1e3, 2), ms_med=round(st.median(ts) * 1e3, 2))), flush=True)

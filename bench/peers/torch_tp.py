# SPDX-License-Identifier: Apache-2.0
"""Peer baseline: a Llama-shaped model in PyTorch, 1 process or tensor parallel over gloo.
usage: [torchrun --nproc-per-node 2] torch_tp.py --seq 128 [--compile] ; prints one JSON line on rank 0."""
import argparse, json, os, time, statistics as st, warnings; warnings.filterwarnings("ignore")
import torch, transformers as T
p=argparse.ArgumentParser(); p.add_argument("--hidden",type=int,default=1024); p.add_argument("--inter",type=int,default=2816); p.add_argument("--layers",type=int,default=8)
p.add_argument("--heads",type=int,default=16); p.add_argument("--kv",type=int,default=8); p.add_argument("--vocab",type=int,default=32000)
p.add_argument("--seq",type=int,default=128); p.add_argument("--decode",action="store_true"); p.add_argument("--cache",type=int,default=512); p.add_argument("--compile",action="store_true"); p.add_argument("--iters",type=int,default=15); p.add_argument("--dtype",default="float32"); p.add_argument("--seqpar",action="store_true")
a=p.parse_args()
ws=int(os.environ.get("WORLD_SIZE","1")); rank=int(os.environ.get("RANK","0"))
if ws>1: torch.set_num_threads(1)
torch.manual_seed(0)
cfg=T.LlamaConfig(hidden_size=a.hidden,intermediate_size=a.inter,num_hidden_layers=a.layers,num_attention_heads=a.heads,num_key_value_heads=a.kv,vocab_size=a.vocab,max_position_embeddings=4096)
cfg._attn_implementation="sdpa"
m=T.LlamaForCausalLM(cfg).eval().to(getattr(torch,a.dtype))
if ws>1:
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import parallelize_module, ColwiseParallel, RowwiseParallel
    from torch.distributed.tensor import Replicate
    mesh=init_device_mesh("cpu",(ws,))
    plan={}
    for i in range(a.layers):
        for n in ("q_proj","k_proj","v_proj"): plan[f"model.layers.{i}.self_attn.{n}"]=ColwiseParallel()
        plan[f"model.layers.{i}.self_attn.o_proj"]=RowwiseParallel()
        for n in ("gate_proj","up_proj"): plan[f"model.layers.{i}.mlp.{n}"]=ColwiseParallel()
        plan[f"model.layers.{i}.mlp.down_proj"]=RowwiseParallel()
    plan["lm_head"]=ColwiseParallel(output_layouts=Replicate())
    parallelize_module(m,mesh,plan)
ids=torch.randint(0,a.vocab,(1,a.seq))
f=torch.compile(m) if a.compile else m
ts=[]
with torch.inference_mode():
    if a.decode:
        from transformers import StaticCache, DynamicCache
        c=DynamicCache(config=cfg)
        m(ids,past_key_values=c,use_cache=True)
        tok=ids[:,:1]
        for i in range(a.iters+5):
            t=time.perf_counter(); m(tok,past_key_values=c,use_cache=True); ts.append(time.perf_counter()-t)
    else:
        for i in range(a.iters+3):
            t=time.perf_counter(); f(ids,use_cache=False,logits_to_keep=1); ts.append(time.perf_counter()-t)
ts=sorted(ts[3:])
if rank==0:
    P=a.layers*(a.hidden*a.hidden*2+2*a.hidden*a.hidden*a.kv//a.heads+3*a.hidden*a.inter)
    toks=1 if a.decode else a.seq
    print(json.dumps(dict(peer="torch"+("-compile" if a.compile else ""),ranks=ws,dtype=a.dtype,seq=a.seq,decode=a.decode,ms_min=round(ts[0]*1e3,2),ms_med=round(st.median(ts)*1e3,2),gflops=round(2*P*toks/ts[0]/1e9,1),gbps=round(4*(P+ a.hidden*a.vocab)/ts[0]/1e9,1))),flush=True)
if ws>1: dist.barrier(); dist.destroy_process_group()

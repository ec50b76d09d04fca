# SPDX-License-Identifier: Apache-2.0
"""Peer baseline: the same Llama shape in JAX on two host devices (GSPMD) or one. usage: jax_tp.py --tp 2 --seq 128"""
import os, argparse, json, time, statistics as st
p=argparse.ArgumentParser(); p.add_argument("--tp",type=int,default=1); p.add_argument("--seq",type=int,default=128); p.add_argument("--dtype",default="float32"); a=p.parse_args()
if a.tp>1: os.environ["XLA_FLAGS"]=f"--xla_force_host_platform_device_count={a.tp}"
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
H,I,L,NH,KV,V,D=1024,2816,8,16,8,32000,64
S=a.seq; dt=getattr(jnp,a.dtype)
mesh=Mesh(np.array(jax.devices()[:a.tp]),("tp",))
def put(x,spec): return jax.device_put(x,NamedSharding(mesh,spec))
r=np.random.default_rng(0); w=lambda *s:jnp.asarray(r.standard_normal(s,dtype=np.float32)*0.02,dt)
col,row,rep=P(None,"tp"),P("tp",None),P()
layers=[dict(q=put(w(H,H),col),k=put(w(H,KV*D),col),v=put(w(H,KV*D),col),o=put(w(H,H),row),g=put(w(H,I),col),u=put(w(H,I),col),d=put(w(I,H),row),n1=put(jnp.ones(H,dt),rep),n2=put(jnp.ones(H,dt),rep)) for _ in range(L)]
emb=put(w(V,H),rep); head=put(w(H,V),col); nf=put(jnp.ones(H,dt),rep)
inv=1/10000**(np.arange(0,D,2)/D); ang=np.outer(np.arange(S),inv); cos=jnp.asarray(np.concatenate([np.cos(ang)]*2,1),dt); sin=jnp.asarray(np.concatenate([np.sin(ang)]*2,1),dt)
def rms(x,g): return x*jax.lax.rsqrt(jnp.mean(x*x,-1,keepdims=True)+1e-6)*g
def rope(x): h=x.shape[-1]//2; return x*cos[:,None]+jnp.concatenate([-x[...,h:],x[...,:h]],-1)*sin[:,None]
mask=jnp.tril(jnp.ones((S,S),bool))
def fwd(ids,layers,emb,head,nf):
    x=emb[ids]
    for l in layers:
        h=rms(x,l["n1"]); q=rope((h@l["q"]).reshape(S,NH,D)); k=rope((h@l["k"]).reshape(S,KV,D)); v=(h@l["v"]).reshape(S,KV,D)
        q=q.reshape(S,KV,NH//KV,D); s=jnp.einsum("sgrd,tgd->grst",q,k)*D**-.5
        s=jnp.where(mask,s,-1e30); pr=jax.nn.softmax(s,-1); o=jnp.einsum("grst,tgd->sgrd",pr,v).reshape(S,H)
        x=x+o@l["o"]; h=rms(x,l["n2"]); x=x+(jax.nn.silu(h@l["g"])*(h@l["u"]))@l["d"]
    return rms(x[-1:],nf)@head
f=jax.jit(fwd,out_shardings=NamedSharding(mesh,rep)); ids=jnp.arange(S)
t=time.time(); f(ids,layers,emb,head,nf).block_until_ready(); comp=time.time()-t
ts=[]
for _ in range(18):
    t=time.perf_counter(); f(ids,layers,emb,head,nf).block_until_ready(); ts.append(time.perf_counter()-t)
ts=sorted(ts); Pn=L*(H*H*2+2*H*KV*D+3*H*I)
print(json.dumps(dict(peer="jax",tp=a.tp,seq=S,dtype=a.dtype,compile_s=round(comp,2),ms_min=round(ts[0]*1e3,2),ms_med=round(st.median(ts)*1e3,2),gflops=round(2*Pn*S/ts[0]/1e9,1))))

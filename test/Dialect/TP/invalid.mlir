// RUN: tp-opt %s -split-input-file -verify-diagnostics

// tp.mesh C1
// expected-error@+1 {{axis sizes are at least 1, found 0}}
tp.mesh @mesh <"tp"=0>

// -----
// tp.mesh C2
// expected-error@+1 {{axis "tp" is named more than once}}
tp.mesh @mesh <"tp"=2, "tp"=4>

// -----
// tp.mesh C3
// expected-error@+1 {{expected one parent per axis (2), found 1}}
tp.mesh @mesh <"tp.0"=2, "tp.1"=2> of ["tp"]

// -----
// tp.matmul C1
func.func @einsum(%a: tensor<2x4xf32>, %b: tensor<4x3xf32>) -> tensor<2x3xf32> {
  // expected-error@+1 {{malformed einsum 'aa,ab->ab'}}
  %0 = tp.matmul "aa,ab->ab" %a, %b : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// -----
// tp.matmul C2
func.func @sizes(%a: tensor<2x4xf32>, %b: tensor<5x3xf32>) -> tensor<2x3xf32> {
  // expected-error@+1 {{dimension 'k' has sizes 4 and 5}}
  %0 = tp.matmul "mk,kn->mn" %a, %b : (tensor<2x4xf32>, tensor<5x3xf32>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// -----
// tp.matmul C3
func.func @one_operand_only(%a: tensor<2x4xf32>, %b: tensor<4x3xf32>) -> tensor<2xf32> {
  // expected-error@+1 {{dimension 'n' is in one operand only}}
  %0 = tp.matmul "mk,kn->m" %a, %b : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----
// tp.matmul C4
func.func @element_types(%a: tensor<2x4xf32>, %b: tensor<4x3xbf16>) -> tensor<2x3xf32> {
  // expected-error@+1 {{element types 'f32' and 'bf16' do not give 'f32'}}
  %0 = tp.matmul "mk,kn->mn" %a, %b : (tensor<2x4xf32>, tensor<4x3xbf16>) -> tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}

// -----
// tp.unary C1
func.func @unary_type(%a: tensor<2xf32>) -> tensor<3xf32> {
  // expected-error@+1 {{failed to verify that all of {input, result} have same type}}
  %0 = "tp.unary"(%a) <{kind = #tp<unary_kind exp>}> : (tensor<2xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----
// tp.unary C2
func.func @unary_kind(%a: tensor<2xi64>) -> tensor<2xi64> {
  // expected-error@+1 {{gelu does not take 'i64'}}
  %0 = tp.unary gelu %a : tensor<2xi64>
  return %0 : tensor<2xi64>
}

// -----
// tp.binary C1
func.func @binary_shape(%a: tensor<2x4xf32>, %b: tensor<3xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{operands do not broadcast to the result's shape 2x4}}
  %0 = tp.binary add %a, %b : (tensor<2x4xf32>, tensor<3xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.binary C2
func.func @binary_types(%a: tensor<2xf32>, %b: tensor<2xbf16>) -> tensor<2xf32> {
  // expected-error@+1 {{add does not take 'f32' and 'bf16'}}
  %0 = tp.binary add %a, %b : (tensor<2xf32>, tensor<2xbf16>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----
// tp.compare C1
func.func @compare_shape(%a: tensor<2xf32>, %b: tensor<3xf32>) -> tensor<2xi1> {
  // expected-error@+1 {{operands do not broadcast to the result's shape 2}}
  %0 = tp.compare lt %a, %b : (tensor<2xf32>, tensor<3xf32>) -> tensor<2xi1>
  return %0 : tensor<2xi1>
}

// -----
// tp.compare C2
func.func @compare_types(%a: tensor<2xf32>, %b: tensor<2xi32>) -> tensor<2xi1> {
  // expected-error@+1 {{cannot compare 'f32' with 'i32'}}
  %0 = tp.compare lt %a, %b : (tensor<2xf32>, tensor<2xi32>) -> tensor<2xi1>
  return %0 : tensor<2xi1>
}

// -----
// tp.select C1
func.func @select_shape(%c: tensor<3xi1>, %a: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error@+1 {{operands do not broadcast to the result's shape 2}}
  %0 = tp.select %c, %a, %a : (tensor<3xi1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----
// tp.select C2
func.func @select_types(%c: tensor<2xi1>, %a: tensor<2xf32>, %b: tensor<2xbf16>) -> tensor<2xf32> {
  // expected-error@+1 {{cannot select between 'f32' and 'bf16'}}
  %0 = tp.select %c, %a, %b : (tensor<2xi1>, tensor<2xf32>, tensor<2xbf16>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----
// tp.elementwise C1
func.func @expression(%a: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error@+1 {{the expression pops more values than it pushes at 'add'}}
  %0 = tp.elementwise "$0 add" %a : (tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----
// tp.elementwise C2
func.func @operators(%a: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error@+1 {{the expression has 17 operators, at most 16 are allowed}}
  %0 = tp.elementwise "$0 neg neg neg neg neg neg neg neg neg neg neg neg neg neg neg neg neg" %a : (tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----
// tp.elementwise C3
func.func @elementwise_shape(%a: tensor<2xf32>) -> tensor<3xf32> {
  // expected-error@+1 {{operands do not broadcast to the result's shape 3}}
  %0 = tp.elementwise "$0 neg" %a : (tensor<2xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----
// tp.convert C1
func.func @convert(%a: tensor<2xf32>) -> tensor<3xi1> {
  // expected-error@+1 {{cannot change the shape from 2 to 3}}
  %0 = tp.convert %a : tensor<2xf32> to tensor<3xi1>
  return %0 : tensor<3xi1>
}

// -----
// tp.constant C1
// expected-error@+1 {{failed to verify that all of {value, result} have same type}}
%0 = "tp.constant"() <{value = dense<1.0> : tensor<2xf32>}> : () -> tensor<3xf32>

// -----
// tp.constant C2
// expected-error@+1 {{a constant that is not a splat has at most 64 elements, found 65}}
%0 = tp.constant dense<[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]> : tensor<65xi32>

// -----
// tp.softmax C1
func.func @softmax_type(%a: tensor<2xf32>) -> tensor<3xf32> {
  // expected-error@+1 {{failed to verify that all of {input, result} have same type}}
  %0 = "tp.softmax"(%a) <{dim = 0 : i64}> : (tensor<2xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// -----
// tp.softmax C2
func.func @softmax_dim(%a: tensor<2xf32>) -> tensor<2xf32> {
  // expected-error@+1 {{dim 1 is outside the rank 1}}
  %0 = tp.softmax %a dim = 1 : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----
// tp.layer_norm C1
func.func @layer_norm_type(%a: tensor<2x4xf32>) -> tensor<2x5xf32> {
  // expected-error@+1 {{input and result have one type}}
  %0 = tp.layer_norm %a eps = 1.0e-5 : (tensor<2x4xf32>) -> tensor<2x5xf32>
  return %0 : tensor<2x5xf32>
}

// -----
// tp.layer_norm C2
func.func @layer_norm_dims(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{dims is between 1 and the rank 2, found 3}}
  %0 = tp.layer_norm %a eps = 1.0e-5 {dims = 3 : i64} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.layer_norm C3
func.func @layer_norm_scale(%a: tensor<2x4xf32>, %s: tensor<2xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected scale and bias of shape 4, found 2}}
  %0 = tp.layer_norm %a scale %s eps = 1.0e-5 : (tensor<2x4xf32>, tensor<2xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.layer_norm C4
func.func @layer_norm_eps(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{eps is greater than 0}}
  %0 = tp.layer_norm %a eps = 0.0 : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.rms_norm C1
func.func @rms_norm_type(%a: tensor<2x4xf32>) -> tensor<2x5xf32> {
  // expected-error@+1 {{input and result have one type}}
  %0 = tp.rms_norm %a eps = 1.0e-5 : (tensor<2x4xf32>) -> tensor<2x5xf32>
  return %0 : tensor<2x5xf32>
}

// -----
// tp.rms_norm C2
func.func @rms_norm_dims(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{dims is between 1 and the rank 2, found 0}}
  %0 = tp.rms_norm %a eps = 1.0e-5 {dims = 0 : i64} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.rms_norm C3
func.func @rms_norm_scale(%a: tensor<2x4xf32>, %s: tensor<2xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{expected scale and bias of shape 4, found 2}}
  %0 = tp.rms_norm %a scale %s eps = 1.0e-5 : (tensor<2x4xf32>, tensor<2xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.rms_norm C4
func.func @rms_norm_eps(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{eps is greater than 0}}
  %0 = tp.rms_norm %a eps = -1.0 : (tensor<2x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.sdpa C1
func.func @sdpa_heads(%q: tensor<2x4x8x16xf32>, %k: tensor<2x3x8x16xf32>) -> tensor<2x4x8x16xf32> {
  // expected-error@+1 {{expected query [b,h,s,d], key [b,kv,t,d]}}
  %0 = tp.sdpa %q, %k, %k scale = 0.25 causal = false : (tensor<2x4x8x16xf32>, tensor<2x3x8x16xf32>, tensor<2x3x8x16xf32>) -> tensor<2x4x8x16xf32>
  return %0 : tensor<2x4x8x16xf32>
}

// -----
// tp.sdpa C2
func.func @sdpa_mask(%q: tensor<2x4x8x16xf32>, %m: tensor<2x7xi1>) -> tensor<2x4x8x16xf32> {
  // expected-error@+1 {{mask 2x7 is neither [b,t] nor does it broadcast to 2x4x8x8}}
  %0 = tp.sdpa %q, %q, %q mask %m scale = 0.25 causal = false : (tensor<2x4x8x16xf32>, tensor<2x4x8x16xf32>, tensor<2x4x8x16xf32>, tensor<2x7xi1>) -> tensor<2x4x8x16xf32>
  return %0 : tensor<2x4x8x16xf32>
}

// -----
// tp.sdpa C3
func.func @sdpa_causal(%q: tensor<2x4x8x16xf32>, %k: tensor<2x4x9x16xf32>) -> tensor<2x4x8x16xf32> {
  // expected-error@+1 {{causal attention needs as many queries as keys, found 8 and 9}}
  %0 = tp.sdpa %q, %k, %k scale = 0.25 causal = true : (tensor<2x4x8x16xf32>, tensor<2x4x9x16xf32>, tensor<2x4x9x16xf32>) -> tensor<2x4x8x16xf32>
  return %0 : tensor<2x4x8x16xf32>
}

// -----
// tp.attention C1
func.func @attention_sizes(%q: tensor<2x8x4x2x16xf32>, %k: tensor<2x8x3x16xf32>) -> tensor<2x8x4x2x16xf32> {
  // expected-error@+1 {{expected q [b,s,g,r,d], k [b,t,g,d]}}
  %0 = tp.attention %q, %k, %k scale = 0.25 causal = false : (tensor<2x8x4x2x16xf32>, tensor<2x8x3x16xf32>, tensor<2x8x3x16xf32>) -> tensor<2x8x4x2x16xf32>
  return %0 : tensor<2x8x4x2x16xf32>
}

// -----
// tp.attention C2
func.func @attention_mask(%q: tensor<2x8x4x2x16xf32>, %k: tensor<2x8x4x16xf32>, %m: tensor<2x8xi1>) -> tensor<2x8x4x2x16xf32> {
  // expected-error@+1 {{mask 2x8 does not broadcast to [b,s,t]}}
  %0 = tp.attention %q, %k, %k mask %m scale = 0.25 causal = false : (tensor<2x8x4x2x16xf32>, tensor<2x8x4x16xf32>, tensor<2x8x4x16xf32>, tensor<2x8xi1>) -> tensor<2x8x4x2x16xf32>
  return %0 : tensor<2x8x4x2x16xf32>
}

// -----
// tp.attention C3
func.func @attention_causal(%q: tensor<2x8x4x2x16xf32>, %k: tensor<2x9x4x16xf32>) -> tensor<2x8x4x2x16xf32> {
  // expected-error@+1 {{causal attention needs as many queries as keys, found 8 and 9}}
  %0 = tp.attention %q, %k, %k scale = 0.25 causal = true : (tensor<2x8x4x2x16xf32>, tensor<2x9x4x16xf32>, tensor<2x9x4x16xf32>) -> tensor<2x8x4x2x16xf32>
  return %0 : tensor<2x8x4x2x16xf32>
}

// -----
// tp.embedding C1
func.func @embedding_shape(%i: tensor<2x8xi64>, %t: tensor<100x16xf32>) -> tensor<2x8x17xf32> {
  // expected-error@+1 {{expected a result of shape 2x8x16, found 2x8x17}}
  %0 = tp.embedding %i, %t : (tensor<2x8xi64>, tensor<100x16xf32>) -> tensor<2x8x17xf32>
  return %0 : tensor<2x8x17xf32>
}

// -----
// tp.embedding C2
func.func @embedding_type(%i: tensor<2x8xi64>, %t: tensor<100x16xf32>) -> tensor<2x8x16xbf16> {
  // expected-error@+1 {{table and result have one element type}}
  %0 = tp.embedding %i, %t : (tensor<2x8xi64>, tensor<100x16xf32>) -> tensor<2x8x16xbf16>
  return %0 : tensor<2x8x16xbf16>
}

// -----
// tp.take C1
func.func @take_index(%x: tensor<2x8xf32>) -> tensor<2x1xf32> {
  // expected-error@+1 {{index 8 is outside the dimension of size 8}}
  %0 = tp.take %x dim = 1 index = 8 : tensor<2x8xf32> to tensor<2x1xf32>
  return %0 : tensor<2x1xf32>
}

// -----
// tp.take C2
func.func @take_shape(%x: tensor<2x8xf32>) -> tensor<2x2xf32> {
  // expected-error@+1 {{expected a result of shape 2x1, found 2x2}}
  %0 = tp.take %x dim = 1 index = 7 : tensor<2x8xf32> to tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}

// -----
// tp.reshape C1
func.func @reshape(%x: tensor<2x8xf32>) -> tensor<15xf32> {
  // expected-error@+1 {{cannot reshape 'tensor<2x8xf32>' to 'tensor<15xf32>'}}
  %0 = tp.reshape %x : tensor<2x8xf32> to tensor<15xf32>
  return %0 : tensor<15xf32>
}

// -----
// tp.transpose C1
func.func @permutation(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{expected a permutation of 2 dimensions}}
  %0 = tp.transpose %x [0, 0] : tensor<2x8xf32> to tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}

// -----
// tp.transpose C2
func.func @transposed_shape(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{the result's shape 2x8 is not the permuted one}}
  %0 = tp.transpose %x [1, 0] : tensor<2x8xf32> to tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}

// -----
// tp.broadcast C1
func.func @broadcast(%x: tensor<2x8xf32>) -> tensor<3x8xf32> {
  // expected-error@+1 {{operands do not broadcast to the result's shape 3x8}}
  %0 = tp.broadcast %x : tensor<2x8xf32> to tensor<3x8xf32>
  return %0 : tensor<3x8xf32>
}

// -----
// tp.broadcast C2
func.func @broadcast_type(%x: tensor<1x8xf32>) -> tensor<3x8xbf16> {
  // expected-error@+1 {{operand and result have one element type}}
  %0 = tp.broadcast %x : tensor<1x8xf32> to tensor<3x8xbf16>
  return %0 : tensor<3x8xbf16>
}

// -----
// tp.slice C1
func.func @slice_rank(%x: tensor<2x8xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{expected 2 offsets, sizes and strides}}
  %0 = tp.slice %x [0] [2, 8] [1, 1] : tensor<2x8xf32> to tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}

// -----
// tp.slice C2
func.func @slice_box(%x: tensor<2x8xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{slice of 4 elements at 5 by 1 leaves a dimension of 8}}
  %0 = tp.slice %x [0, 5] [2, 4] [1, 1] : tensor<2x8xf32> to tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.slice C3
func.func @slice_sizes(%x: tensor<2x8xf32>) -> tensor<2x5xf32> {
  // expected-error@+1 {{the result's shape 2x5 differs from the sizes}}
  %0 = tp.slice %x [0, 0] [2, 4] [1, 1] : tensor<2x8xf32> to tensor<2x5xf32>
  return %0 : tensor<2x5xf32>
}

// -----
// tp.concat C1
func.func @concat_types(%a: tensor<2x4xf32>, %b: tensor<2x4xbf16>) -> tensor<2x8xf32> {
  // expected-error@+1 {{inputs have one rank and element type}}
  %0 = tp.concat %a, %b dim = 1 : (tensor<2x4xf32>, tensor<2x4xbf16>) -> tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}

// -----
// tp.concat C2
func.func @concat_sizes(%a: tensor<2x4xf32>, %b: tensor<3x4xf32>) -> tensor<2x8xf32> {
  // expected-error@+1 {{sizes of dimension 0 differ: 2 and 3}}
  %0 = tp.concat %a, %b dim = 1 : (tensor<2x4xf32>, tensor<3x4xf32>) -> tensor<2x8xf32>
  return %0 : tensor<2x8xf32>
}

// -----
// tp.reduce C1
func.func @reduce_dims(%a: tensor<2x4xf32>) -> tensor<2x1xf32> {
  // expected-error@+1 {{dims are distinct, sorted and inside the rank 2, found 2}}
  %0 = tp.reduce sum %a [2] : tensor<2x4xf32> to tensor<2x1xf32>
  return %0 : tensor<2x1xf32>
}

// -----
// tp.reduce C2
func.func @reduce_shape(%a: tensor<2x4xf32>) -> tensor<2xf32> {
  // expected-error@+1 {{expected a result of shape 2x1, found 2}}
  %0 = tp.reduce sum %a [1] : tensor<2x4xf32> to tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----
// tp.reshard C1
func.func @reshard_rank(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{has 1 dimensions, the value has 2}}
  %0 = tp.reshard %a from <[{"tp"}]> to <[{}, {}]> : tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.reshard C2
func.func @reshard_equal(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{from and to are equal}}
  %0 = tp.reshard %a from <[{"tp"}, {}]> to <[{"tp"}, {}]> : tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.reshard C3
func.func @reshard_partial(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{a reshard cannot make a value partial over "tp"}}
  %0 = tp.reshard %a from <[{"tp"}, {}]> to <[{}, {}], partial = sum {"tp"}> : tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.all_reduce C1
func.func @all_reduce_step(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{no single step over ["tp"]}}
  %0 = tp.all_reduce %a over ["tp"] from <[{"tp"}, {}]> to <[{}, {}]> of [2, 4] : tensor<2x4xf32> to tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----
// tp.all_reduce C2
tp.mesh @mesh <"tp"=2>
func.func @all_reduce_types(%a: tensor<2x4xf32>) -> tensor<1x4xf32> {
  // expected-error@+1 {{expected 'tensor<2x4xf32>' to 'tensor<2x4xf32>', found 'tensor<2x4xf32>' to 'tensor<1x4xf32>'}}
  %0 = tp.all_reduce %a over ["tp"] from <[{}, {}], partial = sum {"tp"}> to <[{}, {}]> of [2, 4] : tensor<2x4xf32> to tensor<1x4xf32>
  return %0 : tensor<1x4xf32>
}

// -----
// tp.all_gather C1
func.func @all_gather_order(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  // The minor-most run goes first: "a" cannot leave before "b".
  // expected-error@+1 {{no single step over ["a"]}}
  %0 = tp.all_gather %a over ["a"] from <[{"a", "b"}, {}]> to <[{"b"}, {}]> of [8, 4] : tensor<8x4xf32> to tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}

// -----
// tp.all_gather C2
tp.mesh @mesh <"tp"=2>
func.func @all_gather_types(%a: tensor<4x4xf32>) -> tensor<7x4xf32> {
  // expected-error@+1 {{expected 'tensor<4x4xf32>' to 'tensor<8x4xf32>'}}
  %0 = tp.all_gather %a over ["tp"] from <[{"tp"}, {}]> to <[{}, {}]> of [8, 4] : tensor<4x4xf32> to tensor<7x4xf32>
  return %0 : tensor<7x4xf32>
}

// -----
// tp.reduce_scatter C1
func.func @reduce_scatter_step(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  // expected-error@+1 {{no single step over ["tp"]}}
  %0 = tp.reduce_scatter %a over ["tp"] from <[{}, {}], partial = sum {"tp"}> to <[{}, {}]> of [8, 4] : tensor<8x4xf32> to tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}

// -----
// tp.reduce_scatter C2
tp.mesh @mesh <"tp"=2>
func.func @reduce_scatter_types(%a: tensor<8x4xf32>) -> tensor<8x4xbf16> {
  // expected-error@+1 {{expected 'tensor<8x4xf32>' to 'tensor<4x4xf32>'}}
  %0 = tp.reduce_scatter %a over ["tp"] from <[{}, {}], partial = sum {"tp"}> to <[{"tp"}, {}]> of [8, 4] : tensor<8x4xf32> to tensor<8x4xbf16>
  return %0 : tensor<8x4xbf16>
}

// -----
// tp.all_to_all C1
func.func @all_to_all_step(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  // expected-error@+1 {{no single step over ["tp"]}}
  %0 = tp.all_to_all %a over ["tp"] from <[{"tp"}, {}]> to <[{}, {}]> of [8, 4] : tensor<8x4xf32> to tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}

// -----
// tp.all_to_all C2
tp.mesh @mesh <"tp"=2>
func.func @all_to_all_types(%a: tensor<4x4xf32>) -> tensor<8x3xf32> {
  // expected-error@+1 {{expected 'tensor<4x4xf32>' to 'tensor<8x2xf32>'}}
  %0 = tp.all_to_all %a over ["tp"] from <[{"tp"}, {}]> to <[{}, {"tp"}]> of [8, 4] : tensor<4x4xf32> to tensor<8x3xf32>
  return %0 : tensor<8x3xf32>
}

// -----
// tp.local_slice C1
func.func @local_slice_step(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  // expected-error@+1 {{no single step over ["tp"]}}
  %0 = tp.local_slice %a over ["tp"] from <[{}, {}]> to <[{"tp", "x"}, {}]> of [8, 4] : tensor<8x4xf32> to tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}

// -----
// tp.local_slice C2
tp.mesh @mesh <"tp"=2>
func.func @local_slice_types(%a: tensor<8x4xf32>) -> tensor<3x4xf32> {
  // expected-error@+1 {{expected 'tensor<8x4xf32>' to 'tensor<4x4xf32>'}}
  %0 = tp.local_slice %a over ["tp"] from <[{}, {}]> to <[{"tp"}, {}]> of [8, 4] : tensor<8x4xf32> to tensor<3x4xf32>
  return %0 : tensor<3x4xf32>
}

// -----
// tp.mask_padding C1
func.func @mask_dim(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  // expected-error@+1 {{dim 2 is outside the rank 2}}
  %0 = tp.mask_padding %a dim = 2 from <length 5 over {"tp"}> value = 0.0 : tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}

// -----
// #tp.sharding C1
// expected-error@+1 {{axis "tp" is named more than once}}
func.func private @twice(tensor<8x4xf32> {tp.sharding = #tp.sharding<[{"tp"}, {"tp"}]>})

// -----
// #tp.strategy C1
func.func @factor_twice(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  // expected-error@+1 {{factor "d0" is named more than once}}
  %0 = tp.unary exp %a {tp.strategy = #tp.strategy<"d0" = {"a"}, "d0" = {"b"}>} : tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}

// -----
// #tp.view C1
// expected-error@+1 {{expected as many strides as sizes (2), found 1}}
ml_program.global private @w(#ml_program.extern : tensor<4x4xf32>) : tensor<4x4xf32> {tp.view = #tp.view<"w", shape = [16], offset = 0, sizes = [4, 4], strides = [1]>}

// -----
// #tp.view C2
// expected-error@+1 {{view of 'w' reaches element 16 of a tensor with 16}}
ml_program.global private @w(#ml_program.extern : tensor<4x4xf32>) : tensor<4x4xf32> {tp.view = #tp.view<"w", shape = [16], offset = 1, sizes = [4, 4], strides = [4, 1]>}

// -----
// tp.rope C1
func.func @rope_rank(%x: tensor<8x16xf32>, %t: tensor<8x8xf32>) -> tensor<8x16xf32> {
  // expected-error@+1 {{expected an input of rank 3 or more}}
  %0 = tp.rope %x cos %t sin %t interleaved = false : (tensor<8x16xf32>, tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x16xf32>
  return %0 : tensor<8x16xf32>
}

// -----
// tp.rope C2
func.func @rope_positions(%x: tensor<2x8x16xf32>, %p: tensor<2x7xi64>, %t: tensor<8x8xf32>) -> tensor<2x8x16xf32> {
  // expected-error@+1 {{expected positions [b|1,s]}}
  %0 = tp.rope %x at %p cos %t sin %t interleaved = false : (tensor<2x8x16xf32>, tensor<2x7xi64>, tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<2x8x16xf32>
  return %0 : tensor<2x8x16xf32>
}

// -----
// tp.rope C3
func.func @rope_tables(%x: tensor<2x8x16xf32>, %t: tensor<8x9xf32>) -> tensor<2x8x16xf32> {
  // expected-error@+1 {{expected tables [capacity, rot/2] with rot at most 16}}
  %0 = tp.rope %x cos %t sin %t interleaved = false : (tensor<2x8x16xf32>, tensor<8x9xf32>, tensor<8x9xf32>) -> tensor<2x8x16xf32>
  return %0 : tensor<2x8x16xf32>
}

// -----
// tp.rope C4
func.func @rope_short(%x: tensor<2x8x16xf32>, %t: tensor<7x8xf32>) -> tensor<2x8x16xf32> {
  // expected-error@+1 {{tables of 7 rows are shorter than the sequence of 8}}
  %0 = tp.rope %x cos %t sin %t interleaved = false : (tensor<2x8x16xf32>, tensor<7x8xf32>, tensor<7x8xf32>) -> tensor<2x8x16xf32>
  return %0 : tensor<2x8x16xf32>
}

// -----

// tp.mesh C1
// expected-error @below {{more than 65536 ranks}}
tp.mesh @mesh <"node"=4294967296, "tp"=4294967296>

// -----

// tp.mesh C1
// expected-error @below {{9 axes of more than one rank, expected at most 8}}
tp.mesh @mesh <"a"=2, "b"=2, "c"=2, "d"=2, "e"=2, "f"=2, "g"=2, "h"=2, "i"=2>

// -----

// tp.mesh C2
// expected-error @below {{axis "tp.0": a dot in a name is kept for parts of an axis}}
tp.mesh @mesh <"tp.0"=2, "tp"=4>

// -----

// tp.mesh C4
tp.mesh @mesh <"tp"=2>
// expected-error @below {{is the module's second mesh; expected one}}
tp.mesh @other <"tp"=4>

// -----

// tp.binary C2
func.func @integer_division(%a: tensor<2xi64>) {
  // expected-error @below {{div does not take 'i64' and 'i64'}}
  %0 = tp.binary div %a, %a : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
  return
}

// -----

// tp.elementwise C4
func.func @integer_expression(%a: tensor<2xi64>) {
  // expected-error @below {{expressions read floats and booleans, found 'i64'}}
  %0 = tp.elementwise "$0 neg" %a : (tensor<2xi64>) -> tensor<2xf32>
  return
}

// -----

// tp.attention C4
func.func @attention_types(%q: tensor<2x8x4x2x16xf32>, %k: tensor<2x8x4x16xbf16>) {
  // expected-error @below {{q, k, v and the result have one element type, found 'f32', 'bf16', 'bf16' and 'f32'}}
  %0 = tp.attention %q, %k, %k scale = 0.25 causal = false : (tensor<2x8x4x2x16xf32>, tensor<2x8x4x16xbf16>, tensor<2x8x4x16xbf16>) -> tensor<2x8x4x2x16xf32>
  return
}

// -----

// A stride that leaves 64 bits.
// tp.slice C2
func.func @far_slice(%x: tensor<8xf32>) {
  // expected-error @below {{slice of 5 elements at 0 by 4611686018427387904 leaves a dimension of 8}}
  %0 = tp.slice %x [0] [5] [4611686018427387904] : tensor<8xf32> to tensor<5xf32>
  return
}

// -----

// tp.constant C1
func.func @sparse() {
  // expected-error @below {{dense elements}}
  %0 = "tp.constant"() {value = sparse<[[0]], [1.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  return
}

// -----

// expected-error @below {{has the unknown attribute tp.shardng}}
ml_program.global private @w(#ml_program.extern : tensor<4xf32>) : tensor<4xf32> {tp.key = "w", tp.shardng = #tp.sharding<[{}]>}

// -----

// expected-error @below {{tp.range must be array<i64: LOW, HIGH> with LOW < HIGH, on an argument of i32 or i64, found array<i64: 5, 3>}}
func.func @empty_range(%x: tensor<4xi64> {tp.name = "x", tp.range = array<i64: 5, 3>}) {
  return
}

// -----

// expected-error @below {{tp.range must be array<i64: LOW, HIGH> with LOW < HIGH, on an argument of i32 or i64}}
func.func @float_range(%x: tensor<4xf32> {tp.name = "x", tp.range = array<i64: 0, 3>}) {
  return
}

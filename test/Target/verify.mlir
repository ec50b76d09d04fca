// RUN: tp-opt %s -split-input-file -verify-diagnostics --plan-verify

// No mesh.
// expected-error @below {{not a plan: no plan.mesh}}
module {
  plan.entry @forward {
  }
}

// -----

// An axis that the mesh does not have.
plan.mesh ["tp"] sizes [2] of ["tp"]
plan.entry @forward attributes {arena_bytes = 128 : i64, live_bytes_bound = 128 : i64} {
  %x = plan.buffer 8 at 0 : !plan.buffer<f32>
  plan.input "x" %x [8] : !plan.buffer<f32>
  // expected-error @below {{the mesh has no axis "dp"}}
  plan.all_reduce x(%x[0, 8xf32]) out(%x[0, 8xf32]) {axes = ["dp"]}
}

// -----

// An op of another dialect.
plan.mesh ["tp"] sizes [2] of ["tp"]
// expected-error @below {{is not part of a plan}}
tp.mesh @mesh <"tp"=2>
plan.entry @forward {
}

// -----

// Buffers without a place.
// expected-error @below {{buffer 0 lies at byte -1, expected a multiple of 64}}
module {
  plan.mesh ["tp"] sizes [2] of ["tp"]
  plan.entry @forward {
    %x = plan.buffer 8 : !plan.buffer<f32>
    plan.input "x" %x [8] : !plan.buffer<f32>
  }
}

// -----

// Two streams without an event between them.
// expected-error @below {{begins stream 1 without waiting for an event of stream 0}}
module {
  plan.mesh ["tp"] sizes [2] of ["tp"]
  plan.entry @forward attributes {arena_bytes = 64 : i64} {
    %x = plan.buffer 8 at 0 : !plan.buffer<f32>
    plan.fill out(%x[0, 8xf32]) {value = 0.0 : f64}
    plan.all_reduce x(%x[0, 8xf32]) out(%x[0, 8xf32]) {axes = ["tp"], stream = 1 : i32}
  }
}

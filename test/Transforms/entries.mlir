// Entries share one weight layout: the one that is best for how often each of them runs. `prefill` gets its rows whole and
// returns columns, so columns of w cost it nothing; `decode` holds columns of x and pays for gathering them.
// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=sharded calls=prefill:1000,decode:1" | FileCheck %s --check-prefixes=CHECK,COLUMNS
// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=sharded calls=prefill:1,decode:1000" | FileCheck %s --check-prefixes=CHECK,ROWS
// CHECK: \22calls\22: \22prefill:1{{(000)?}},decode:1{{(000)?}}\22
// COLUMNS: @w{{.*}}tp.sharding = #tp.sharding<[{"tp"}, {}]>
// ROWS: @w{{.*}}tp.sharding = #tp.sharding<[{}, {"tp"}]>

// Times in the choices are those of one step; the objective counts calls.
// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=sharded" | FileCheck %s --check-prefix=ONCE
// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=sharded calls=prefill:1,decode:1" | FileCheck %s --check-prefix=ONCE
// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=sharded calls=decode:0.5,prefill:0.5" --tp-report -o %t.half 2> %t.report
// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=sharded" --tp-report -o %t.once 2>> %t.report
// RUN: %python -c "import re, sys; a, b = map(float, re.findall(r'objective_s.: ([0-9.e+-]+)', open(sys.argv[1]).read())); assert abs(2 * a - b) < 1e-8 * b, (a, b)" %t.report
// RUN: %python -c "import re, sys; f = lambda p: re.findall(r'22us.22:([0-9.e+-]+)', open(p).read()); assert f(sys.argv[1]) == f(sys.argv[2]) != []" %t.half %t.once
// ONCE: \22layer\22:\22first\22

// Time against memory: more bytes, less time, and no row that another one beats.
// RUN: tp-opt %s --tp-compile="mesh=tp:2 to=sharded solve-seconds=5" --tp-report=pareto -o /dev/null 2>&1 | FileCheck %s --check-prefix=PARETO
// PARETO: bytes per rank within step us bound us gap
// PARETO-NEXT: {{^ +[0-9]+ +[0-9]+ +[0-9.]+ +[0-9.]+ +[0-9.]+%$}}

// RUN: %exits 3 tp-opt %s --tp-compile="mesh=tp:2 calls=prefill:1" -o /dev/null 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: %exits 3 tp-opt %s --tp-compile="mesh=tp:2 calls=prefill:1,decode:1,train:1" -o /dev/null 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: %exits 2 tp-opt %s --tp-compile="mesh=tp:2 calls=prefill:0,decode:1" -o /dev/null 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: %exits 2 tp-opt %s --tp-compile="mesh=tp:2 calls=prefill:1,prefill:2" -o /dev/null 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: %exits 2 tp-opt %s --tp-compile="mesh=tp:2 calls=prefill" -o /dev/null 2>&1 | FileCheck %s --check-prefix=COUNT
// RUN: %exits 2 tp-opt %s --tp-compile="mesh=tp:2 solve-seconds=0" -o /dev/null 2>&1 | FileCheck %s --check-prefix=SECONDS
// RUN: %exits 2 tp-opt %s --tp-compile="mesh=tp:2" --tp-report=chart -o /dev/null 2>&1 | FileCheck %s --check-prefix=CHART
// MISSING: error: 'func.func' op is missing in calls; name every entry or none
// UNKNOWN: error: calls: the module has no entry 'train'; it has prefill, decode
// ZERO: expected calls=ENTRY:COUNT,... with positive counts, found 'prefill:0'
// TWICE: calls names the entry 'prefill' twice
// COUNT: expected calls=ENTRY:COUNT,... with positive counts, found 'prefill'
// SECONDS: expected solve-seconds above 0
// CHART: unknown --tp-report=chart; expected --tp-report or --tp-report=pareto

ml_program.global private @w(#ml_program.extern : tensor<64x512xf32>) : tensor<64x512xf32> {tp.key = "w"}
func.func @prefill(%x: tensor<256x512xf32> {tp.name = "x"}) -> (tensor<256x64xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {"tp"}]>}) {
  %w = ml_program.global_load_const @w : tensor<64x512xf32>
  %0 = tp.matmul "bk,nk->bn" %x, %w : (tensor<256x512xf32>, tensor<64x512xf32>) -> tensor<256x64xf32> loc("first")
  return %0 : tensor<256x64xf32>
}
func.func @decode(%x: tensor<256x512xf32> {tp.name = "x"}) -> (tensor<256x64xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {"tp"}]>}) {
  %w = ml_program.global_load_const @w : tensor<64x512xf32>
  %0 = tp.unary exp %x {tp.strategy = #tp.strategy<"d1" = {"tp"}>} : tensor<256x512xf32>
  %1 = tp.matmul "bk,nk->bn" %0, %w : (tensor<256x512xf32>, tensor<64x512xf32>) -> tensor<256x64xf32> loc("first")
  return %1 : tensor<256x64xf32>
}

//! How long single operations take.

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn operations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("operations");
    group
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    for operation in lianka_bench::operations() {
        group.throughput(Throughput::Elements(operation.of as u64));
        group.bench_function(operation.name, |bencher| {
            bencher.iter_batched(
                || operation.prepare(),
                |run| black_box(run()),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, operations);
criterion_main!(benches);

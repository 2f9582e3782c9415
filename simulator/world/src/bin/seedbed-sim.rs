//! Simulates one seed, or many.
use seedbed_simulation::logs::Logs;
use seedbed_simulation::sim::{Script, run};
fn main() {
    let seed: u64 = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(1);
    seedbed_simulation::entropy::follow(seed);
    let logs = Logs::keep();
    let script = Script::of(seed);
    let outcome = run(seed, &script, &logs);
    if std::env::args().nth(2).is_some() {
        println!("{}", script.describe(|_| true));
        println!("{}", outcome.log);
    }
    if std::env::args().nth(3).is_some() {
        println!("{}", logs.text());
    }
    println!(
        "{seed} {:?} {}",
        outcome.elapsed,
        outcome.problem.unwrap_or_else(|| "ok".to_owned())
    );
}

//! asyncssh, the Python library, by a script each.

use super::paramiko::script;
use crate::harness::Demo;

#[test]
fn a_days_work() {
    let demo = Demo::start();
    let (account, _) = demo.add_worker("anna");
    let told = script(&demo, &account, "asyncssh_days_work.py", &[]);
    assert!(told.out.ends_with("done\n"), "{told:?}");
}

// rule L4
// rule L5
#[test]
fn both_factors_by_prompts_and_in_one_password() {
    let demo = Demo::start();
    let account = demo.account("partner");
    let next = account.code_of_step(1);
    let told = script(&demo, account, "asyncssh_factors.py", &[&next]);
    assert!(told.out.ends_with("done\n"), "{told:?}");
}

//! What random schedules found, each by the shortest way to it: nothing fails or takes time here,
//! but where a test says so.

use std::sync::Arc;
use std::time::Duration;

use portcullis_gate::FsError;
use portcullis_gate::admin::{Actor, AdminChange};

use super::disk::content;
use super::site::path;
use super::world::World;
use super::{actors, at_ease, keeper, settled, watched};
use crate::support::WRITE;

async fn gateways(count: usize) -> Arc<World> {
    let world = World::new(0, count);
    for slot in 0..count {
        actors::start(&world, slot);
    }
    a_while().await;
    world
}

async fn a_while() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

// rule A2: the new version of a file that is renamed gets the file's new name under the intent of
// that rename, and not after its outcome.
#[tokio::test(start_paused = true)]
async fn a_new_version_follows_its_file_under_the_same_intent() {
    let world = gateways(1).await;
    let schedule = async {
        let keeper = keeper(&world.node(0)).await;
        let fs = keeper.0.fs();
        let upload = async |at: &str, number: u64| {
            let file = fs.open(&path(at), WRITE).await.unwrap();
            for (part, bytes) in content(number).iter().enumerate() {
                file.write_at(8 * part as u64, bytes).await.unwrap();
            }
            file
        };
        at_ease(&keeper, async {
            upload("/a", 1).await.close().await.unwrap();
            let second = upload("/a", 2).await;
            fs.rename(&path("/a"), &path("/b"), false).await.unwrap();
            second.close().await.unwrap();
        })
        .await;
        assert_eq!(world.shared.lock().unwrap().files["/b"], 2);
        settled(&world).await;
    };
    let (broken, log) = watched(&world, schedule).await;
    assert_eq!(broken, None, "{log:#?}");
}

// rule D1: a folder that another gateway moved the same way, while this one was about to, is not
// taken for this one's doing: what stands there by then keeps its rules.
#[tokio::test(start_paused = true)]
async fn a_folder_that_another_gateway_moved_first_is_not_moved_twice() {
    let world = gateways(2).await;
    let schedule = async {
        let (late, first) = (keeper(&world.node(0)).await, keeper(&world.node(1)).await);
        let (old, new) = (path("/old"), path("/new"));
        let at_first = first.0.fs();
        at_ease(&first, at_first.make_dir(&old)).await.unwrap();
        let node = world.node(0);
        let held = node.journal.lock().await;
        let moving = async {
            let fs = late.0.fs();
            at_ease(&late, fs.rename(&old, &new, false)).await
        };
        let meanwhile = async {
            a_while().await;
            at_ease(&first, async {
                at_first.rename(&old, &new, false).await.unwrap();
                at_first.make_dir(&old).await.unwrap();
            })
            .await;
            let gate = world.node(1).gate().unwrap();
            let folder = old.clone();
            let fence = AdminChange::FenceAdd { folder };
            let fenced = gate.administer(Actor::CommandLine { uid: 0 }, fence);
            fenced.await.unwrap();
            drop(held);
        };
        let (moved, ()) = tokio::join!(moving, meanwhile);
        assert_eq!(moved, Err(FsError::AlreadyExists));
        let fences = world.newest().1.fences.clone();
        assert!(
            fences.contains("/old") && !fences.contains("/new"),
            "{fences:?}"
        );
        settled(&world).await;
    };
    let (broken, log) = watched(&world, schedule).await;
    assert_eq!(broken, None, "{log:#?}");
}

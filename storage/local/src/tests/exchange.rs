//! What someone else does to the name between two steps of publishing over a file (rule U4).
//!
//! On a volume in memory all steps run on the thread of the test.

use portcullis_gate::{StageFrom, StorageError};

use super::{in_memory, open, subject};
use crate::steps::act_at_steps;

// rule U4: another file came between the look and the exchange: it gets its name back.
#[tokio::test]
async fn file_that_came_between_is_put_back() {
    let root = in_memory();
    let s = subject(&open(root.path()));
    let old = s.put("/f", b"old").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"mine").await.unwrap();
    let (other, name) = (root.path().join("other"), root.path().join("f"));
    std::fs::write(&other, b"another's").unwrap();
    act_at_steps(move |step| {
        if step == "looked" {
            std::fs::rename(&other, &name).unwrap();
        }
    });
    let outcome = s.publish_over(&*staged, "/f", old.identity).await;
    assert!(matches!(outcome, Err(StorageError::Changed)), "{outcome:?}");
    assert_eq!(s.get("/f").await.unwrap(), b"another's");
    act_at_steps(|_| {});
    // The partial is kept, and can be published over the new one.
    let now = s.stat("/f").await.unwrap().identity;
    s.publish_over(&*staged, "/f", now).await.unwrap();
    assert_eq!(s.get("/f").await.unwrap(), b"mine");
}

// A folder came between: it gets its name back, with what it holds.
#[tokio::test]
async fn folder_that_came_between_is_put_back() {
    let root = in_memory();
    let s = subject(&open(root.path()));
    let old = s.put("/f", b"old").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    let name = root.path().join("f");
    act_at_steps(move |step| {
        if step == "looked" {
            std::fs::remove_file(&name).unwrap();
            std::fs::create_dir(&name).unwrap();
            std::fs::write(name.join("below"), b"x").unwrap();
        }
    });
    let outcome = s.publish_over(&*staged, "/f", old.identity).await;
    assert!(matches!(outcome, Err(StorageError::Changed)), "{outcome:?}");
    assert_eq!(s.get("/f/below").await.unwrap(), b"x");
}

// Someone removed the new version before the other file could be put back: nothing of theirs is
// lost.
#[tokio::test]
async fn file_that_came_between_is_put_back_on_a_free_name() {
    let root = in_memory();
    let s = subject(&open(root.path()));
    let old = s.put("/f", b"old").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    let (other, name) = (root.path().join("other"), root.path().join("f"));
    std::fs::write(&other, b"another's").unwrap();
    act_at_steps(move |step| match step {
        "looked" => std::fs::rename(&other, &name).unwrap(),
        "unexpected" => std::fs::remove_file(&name).unwrap(),
        _ => {}
    });
    let outcome = s.publish_over(&*staged, "/f", old.identity).await;
    assert!(matches!(outcome, Err(StorageError::Changed)), "{outcome:?}");
    assert_eq!(s.get("/f").await.unwrap(), b"another's");
}

// rule U2: an upload that is cut while it is being published appears nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn upload_cut_in_the_middle_is_not_published() {
    for root in [super::in_memory(), super::on_disk()] {
        let s = subject(&open(root.path()));
        let old = s.put("/f", &vec![1; 64 << 20]).await;
        let staged = s.stage("/f", StageFrom::Existing).await.unwrap();
        staged.write_at(0, b"new").await.unwrap();
        // Polled once, so that its steps have begun; copying the old content takes a while.
        let publish = s.publish_over(&*staged, "/f", old.identity);
        let cut = tokio::time::timeout(std::time::Duration::ZERO, publish).await;
        assert!(cut.is_err());
        drop(staged);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(s.stat("/f").await.unwrap().identity, old.identity);
    }
}

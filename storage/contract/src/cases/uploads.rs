//! Staged uploads (rules U2, U4, U5).

use std::sync::Arc;

use portcullis_gate::{Durability, StageFrom, StagedFile};

use super::assert_fails;
use crate::subject::whole;
use crate::{ANA, BEN, Permits, Subject};

/// rule U2: a new file appears under its name, whole, when it is published.
pub async fn upload_appears_whole<P: Permits>(s: &Subject<P>) {
    for durability in [Durability::OnClose, Durability::Never] {
        let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
        staged.write_at(0, b"hello ").await.unwrap();
        staged.write_at(6, b"world").await.unwrap();
        assert!(s.stat("/f").await.is_none());
        assert_fails!(s.open_read("/f").await, NotFound);
        let published = staged
            .publish_new(s.permit("/f"), durability)
            .await
            .unwrap();
        assert_eq!(s.stat("/f").await.unwrap(), published);
        assert_eq!(published.size, 11);
        assert_eq!(s.get("/f").await.unwrap(), b"hello world");
        assert_eq!(s.names("/").await, ["f"]);
        s.remove_file("/f").await.unwrap();
        assert!(s.names("/").await.is_empty());
    }
}

/// rule U5: a broken upload is its account's alone; for all others the name is free.
pub async fn dropped_upload_is_kept_for_its_account<P: Permits>(s: &Subject<P>) {
    s.leave("/f", b"half").await;
    assert!(s.stat("/f").await.is_none(), "rule U2: it is not published");
    assert_eq!(s.stat_partial("/f").await.unwrap().size, 4);
    assert_eq!(s.names("/").await, ["f*"]);
    assert_eq!(s.list("/").await[0].metadata.size, 4);
    assert_fails!(s.open_read("/f").await, NotFound);
    let ben = s.by(BEN);
    assert!(ben.stat_partial("/f").await.is_none());
    assert!(ben.names("/").await.is_empty());
    assert_fails!(ben.remove_file("/f").await, NotFound);
    ben.put("/f", b"ben's").await;
    assert_eq!(s.get("/f").await.unwrap(), b"ben's");
}

/// rule U5: a file that stands under the name hides the partial.
pub async fn file_hides_the_partial<P: Permits>(s: &Subject<P>) {
    s.leave("/f", b"half").await;
    s.by(BEN).put("/f", b"whole file").await;
    assert!(s.stat_partial("/f").await.is_none());
    assert_eq!(s.names("/").await, ["f"]);
    assert_eq!(s.stat("/f").await.unwrap().size, 10);
    // Removing the file uncovers the partial, and a second removal takes it.
    s.remove_file("/f").await.unwrap();
    assert_eq!(s.stat_partial("/f").await.unwrap().size, 4);
    s.remove_partial("/f").await.unwrap();
    assert!(s.stat_partial("/f").await.is_none());
    assert_fails!(s.remove_partial("/f").await, NotFound);
}

/// rule U5: an upload is continued where it broke off, with the same file beneath.
pub async fn partial_is_continued<P: Permits>(s: &Subject<P>) {
    s.leave("/f", b"first ").await;
    let before = s.stat_partial("/f").await.unwrap();
    let staged = s.stage("/f", StageFrom::Partial).await.unwrap();
    let now = staged.metadata().await.unwrap();
    assert_eq!((now.size, now.identity), (6, before.identity));
    assert_eq!(whole(&*staged).await.unwrap(), b"first ");
    staged.write_at(6, b"second").await.unwrap();
    let published = s.publish_new(&*staged, "/f").await.unwrap();
    assert_eq!(published.identity, before.identity);
    assert_eq!(s.get("/f").await.unwrap(), b"first second");
    // Where there is no partial it begins empty.
    let staged = s.stage("/g", StageFrom::Partial).await.unwrap();
    assert_eq!(staged.metadata().await.unwrap().size, 0);
}

/// A restarted upload begins empty.
pub async fn empty_stage_throws_the_partial_away<P: Permits>(s: &Subject<P>) {
    s.leave("/f", b"a long first try").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    assert_eq!(s.stat_partial("/f").await.unwrap().size, 0);
    staged.write_at(0, b"short").await.unwrap();
    assert_eq!(s.stat_partial("/f").await.unwrap().size, 5);
    s.publish_new(&*staged, "/f").await.unwrap();
    assert_eq!(s.get("/f").await.unwrap(), b"short");
}

/// rule U4: `Create` never replaces, and a conflict keeps the partial.
pub async fn new_never_replaces<P: Permits>(s: &Subject<P>) {
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"mine").await.unwrap();
    s.by(BEN).put("/f", b"ben's").await;
    assert_fails!(s.publish_new(&*staged, "/f").await, AlreadyExists);
    assert_eq!(s.get("/f").await.unwrap(), b"ben's");
    s.remove_file("/f").await.unwrap();
    assert_eq!(s.stat_partial("/f").await.unwrap().size, 4);
    s.publish_new(&*staged, "/f").await.unwrap();
    assert_eq!(s.get("/f").await.unwrap(), b"mine");
}

/// rule U4: `Overwrite` replaces the file that was opened.
pub async fn over_replaces_the_expected<P: Permits>(s: &Subject<P>) {
    let old = s.put("/f", b"the old content").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"new").await.unwrap();
    assert_eq!(s.get("/f").await.unwrap(), b"the old content");
    let new = s.publish_over(&*staged, "/f", old.identity).await.unwrap();
    assert_ne!(new.identity, old.identity);
    assert_eq!(s.stat("/f").await.unwrap(), new);
    assert_eq!(s.get("/f").await.unwrap(), b"new");
    assert_eq!(s.names("/").await, ["f"]);
    s.remove_file("/f").await.unwrap();
    assert!(
        s.names("/").await.is_empty(),
        "the old version must not be left as a partial"
    );
}

/// rule U3: readers keep the old version until they close.
pub async fn readers_keep_the_old_version<P: Permits>(s: &Subject<P>) {
    let old = s.put("/f", b"old").await;
    let reader = s.open_read("/f").await.unwrap();
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"newer").await.unwrap();
    s.publish_over(&*staged, "/f", old.identity).await.unwrap();
    assert_eq!(whole(&*reader).await.unwrap(), b"old");
    s.remove_file("/f").await.unwrap();
    assert_eq!(whole(&*reader).await.unwrap(), b"old");
}

/// rule U4: a file that is another one by now is not replaced, and the partial is kept.
pub async fn over_refuses_another_file<P: Permits>(s: &Subject<P>) {
    let old = s.put("/f", b"old").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"mine").await.unwrap();
    s.remove_file("/f").await.unwrap();
    s.by(BEN).put("/f", b"ben's").await;
    assert_fails!(s.publish_over(&*staged, "/f", old.identity).await, Changed);
    assert_eq!(s.get("/f").await.unwrap(), b"ben's");
    s.remove_file("/f").await.unwrap();
    assert_eq!(s.stat_partial("/f").await.unwrap().size, 4);
}

/// rule U4: where the file is gone, or a folder has taken its name, nothing is replaced.
pub async fn over_refuses_nothing<P: Permits>(s: &Subject<P>) {
    let old = s.put("/f", b"old").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"mine").await.unwrap();
    s.remove_file("/f").await.unwrap();
    assert_fails!(s.publish_over(&*staged, "/f", old.identity).await, Changed);
    s.make_dir("/f").await.unwrap();
    assert_fails!(s.publish_over(&*staged, "/f", old.identity).await, Changed);
    s.remove_dir("/f").await.unwrap();
    assert_eq!(s.stat_partial("/f").await.unwrap().size, 4);
}

/// Who begins the same upload anew takes it over; the earlier handle can do nothing any more.
pub async fn later_stage_takes_over<P: Permits>(s: &Subject<P>) {
    for from in [StageFrom::Empty, StageFrom::Partial] {
        let earlier = s.stage("/f", StageFrom::Empty).await.unwrap();
        earlier.write_at(0, b"earlier").await.unwrap();
        let later = s.stage("/f", from).await.unwrap();
        assert_fails!(earlier.write_at(0, b"x").await, TakenOver);
        assert_fails!(s.publish_new(&*earlier, "/f").await, TakenOver);
        assert_fails!(earlier.discard().await, TakenOver);
        drop(earlier);
        later.write_at(0, b"LATER").await.unwrap();
        s.publish_new(&*later, "/f").await.unwrap();
        let expected: &[u8] = if from == StageFrom::Empty {
            b"LATER"
        } else {
            b"LATERer"
        };
        assert_eq!(s.get("/f").await.unwrap(), expected);
        s.remove_file("/f").await.unwrap();
        // Another account's upload to the same name is another upload.
        let mine = s.stage("/f", StageFrom::Empty).await.unwrap();
        let _bens = s.by(BEN).stage("/f", from).await.unwrap();
        s.publish_new(&*mine, "/f").await.unwrap();
        s.remove_file("/f").await.unwrap();
    }
}

/// rule U5: an upload that gets another name is shown, goes on and is published there.
pub async fn renamed_upload_appears_elsewhere<P: Permits>(s: &Subject<P>) {
    s.make_dir("/d").await.unwrap();
    for to in ["/g", "/d/g"] {
        let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
        staged.write_at(0, b"one").await.unwrap();
        s.rename_staged(&*staged, "/f", "/f").await.unwrap();
        s.rename_staged(&*staged, "/f", to).await.unwrap();
        assert!(s.stat_partial("/f").await.is_none());
        assert_eq!(s.stat_partial(to).await.unwrap().size, 3);
        staged.write_at(3, b"two").await.unwrap();
        // The old name is free, and consent for it is none any more.
        assert_fails!(s.publish_new(&*staged, "/f").await, Unsupported);
        assert_fails!(s.rename_staged(&*staged, "/f", "/h").await, Unsupported);
        let other = s.stage("/f", StageFrom::Empty).await.unwrap();
        other.write_at(0, b"other").await.unwrap();
        s.publish_new(&*staged, to).await.unwrap();
        s.publish_new(&*other, "/f").await.unwrap();
        assert_eq!(s.get(to).await.unwrap(), b"onetwo");
        assert_eq!(s.get("/f").await.unwrap(), b"other");
        assert_fails!(s.rename_staged(&*staged, to, "/h").await, Unsupported);
        s.remove_file("/f").await.unwrap();
    }
    // Beneath its new name it can be taken over, and only there.
    let staged = s.stage("/a", StageFrom::Empty).await.unwrap();
    s.rename_staged(&*staged, "/a", "/b").await.unwrap();
    let _elsewhere = s.stage("/a", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"x").await.unwrap();
    let _later = s.stage("/b", StageFrom::Empty).await.unwrap();
    assert_fails!(staged.write_at(0, b"x").await, TakenOver);
    assert_fails!(s.rename_staged(&*staged, "/b", "/c").await, TakenOver);
}

/// Another partial of the account keeps its name; another account's does not matter.
pub async fn renamed_upload_spares_another_partial<P: Permits>(s: &Subject<P>) {
    s.leave("/g", b"kept").await;
    s.by(BEN).leave("/h", b"bens").await;
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"mine").await.unwrap();
    assert_fails!(s.rename_staged(&*staged, "/f", "/g").await, AlreadyExists);
    assert_fails!(s.rename_staged(&*staged, "/f", "/none/g").await, NotFound);
    assert_eq!(s.names("/").await, ["f*", "g*"]);
    s.rename_staged(&*staged, "/f", "/h").await.unwrap();
    s.publish_new(&*staged, "/h").await.unwrap();
    assert_eq!(s.get("/h").await.unwrap(), b"mine");
    s.remove_file("/h").await.unwrap();
    assert_eq!(s.by(BEN).names("/").await, ["h*"]);
}

/// What is thrown away is gone.
pub async fn discard_leaves_nothing<P: Permits>(s: &Subject<P>) {
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"data").await.unwrap();
    staged.discard().await.unwrap();
    assert!(s.stat_partial("/f").await.is_none());
    assert_fails!(staged.write_at(0, b"x").await, Unsupported);
    assert_fails!(s.publish_new(&*staged, "/f").await, Unsupported);
    drop(staged);
    assert!(s.names("/").await.is_empty());
}

/// After publishing nothing can be written through the handle; it can still be read.
pub async fn published_handle_is_closed<P: Permits>(s: &Subject<P>) {
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"data").await.unwrap();
    s.publish_new(&*staged, "/f").await.unwrap();
    assert_fails!(staged.write_at(0, b"evil").await, Unsupported);
    assert_fails!(staged.discard().await, Unsupported);
    assert_fails!(s.publish_new(&*staged, "/f").await, Unsupported);
    assert_eq!(whole(&*staged).await.unwrap(), b"data");
    assert_eq!(s.get("/f").await.unwrap(), b"data");
}

/// rule U4: consent for another place or another account publishes nothing.
pub async fn consent_is_for_one_place<P: Permits>(s: &Subject<P>) {
    let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
    assert_fails!(s.publish_new(&*staged, "/g").await, Unsupported);
    assert_fails!(s.by(BEN).publish_new(&*staged, "/f").await, Unsupported);
    assert!(s.stat("/f").await.is_none() && s.stat("/g").await.is_none());
    s.publish_new(&*staged, "/f").await.unwrap();
}

/// An upload wants a folder that stands, and a name that no folder has.
pub async fn stage_needs_a_place<P: Permits>(s: &Subject<P>) {
    s.make_dir("/d").await.unwrap();
    assert_fails!(s.stage("/d", StageFrom::Empty).await, IsAFolder);
    assert_fails!(s.stage("/none/f", StageFrom::Empty).await, NotFound);
    assert_fails!(s.stage("/none/f", StageFrom::Partial).await, NotFound);
}

/// rule U4: consent is for the path: where its folder was moved away, nothing is published, not
/// there and not in a folder that took its name.
pub async fn moved_folder_takes_the_upload_along<P: Permits>(s: &Subject<P>) {
    s.make_dir("/a").await.unwrap();
    let staged = s.stage("/a/f", StageFrom::Empty).await.unwrap();
    staged.write_at(0, b"data").await.unwrap();
    s.rename("/a", "/b", false).await.unwrap();
    assert_fails!(s.publish_new(&*staged, "/a/f").await, NotFound);
    s.make_dir("/a").await.unwrap();
    assert_fails!(s.publish_new(&*staged, "/a/f").await, NotFound);
    assert!(s.names("/a").await.is_empty());
    drop(staged);
    assert_eq!(s.names("/b").await, ["f*"]);
    let staged = s.stage("/b/f", StageFrom::Partial).await.unwrap();
    s.publish_new(&*staged, "/b/f").await.unwrap();
    assert_eq!(s.get("/b/f").await.unwrap(), b"data");
}

/// rule U4: of many who publish a new file at once, one does.
pub async fn one_of_many_wins_new<P: Permits>(s: &Subject<P>) {
    let mut tasks = Vec::new();
    for number in 0..16 {
        let s = s.by(portcullis_model::AccountId(ANA.0 + number));
        tasks.push(tokio::spawn(async move {
            let staged = s.stage("/f", StageFrom::Empty).await.unwrap();
            staged
                .write_at(0, number.to_string().as_bytes())
                .await
                .unwrap();
            match s.publish_new(&*staged, "/f").await {
                Ok(_) => Some(number),
                outcome => {
                    assert_fails!(outcome, AlreadyExists);
                    None
                }
            }
        }));
    }
    let winner = one_winner(tasks).await;
    assert_eq!(s.get("/f").await.unwrap(), winner.to_string().as_bytes());
}

/// rule U4: of many who replace the same file at once, one does.
pub async fn one_of_many_wins_over<P: Permits>(s: &Subject<P>) {
    let old = s.put("/f", b"old").await.identity;
    let mut staged: Vec<(i64, Subject<P>, Box<dyn StagedFile>)> = Vec::new();
    for number in 0..16 {
        let s = s.by(portcullis_model::AccountId(ANA.0 + number));
        let file = s.stage("/f", StageFrom::Empty).await.unwrap();
        file.write_at(0, number.to_string().as_bytes())
            .await
            .unwrap();
        staged.push((number, s, file));
    }
    let start = Arc::new(tokio::sync::Barrier::new(staged.len()));
    let tasks = staged.into_iter().map(|(number, s, file)| {
        let start = start.clone();
        tokio::spawn(async move {
            start.wait().await;
            match s.publish_over(&*file, "/f", old).await {
                Ok(_) => Some(number),
                outcome => {
                    assert_fails!(outcome, Changed);
                    None
                }
            }
        })
    });
    let winner = one_winner(tasks.collect()).await;
    assert_eq!(s.get("/f").await.unwrap(), winner.to_string().as_bytes());
}

async fn one_winner(tasks: Vec<tokio::task::JoinHandle<Option<i64>>>) -> i64 {
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    winners[0]
}

/// A partial keeps no name from a folder, and is hidden by it.
pub async fn folder_may_take_the_name<P: Permits>(s: &Subject<P>) {
    let staged = s.stage("/x", StageFrom::Empty).await.unwrap();
    s.by(BEN).make_dir("/x").await.unwrap();
    assert_fails!(s.publish_new(&*staged, "/x").await, AlreadyExists);
    assert_eq!(s.names("/").await, ["x"]);
    assert!(s.stat_partial("/x").await.is_none());
}

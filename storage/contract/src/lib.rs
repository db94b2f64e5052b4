//! The suite that every back-end must pass.
//!
//! Owns what the port's promises mean, as cases that only see the port. Knows nothing of any
//! back-end. A back-end's tests call [`contract_tests`], which makes one test of each case.
//! INVARIANT: each case starts with an empty tree and says which rule it proves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test suite, a dependency of tests alone"
)]

pub mod cases;
mod subject;

pub use subject::{ANA, BEN, Permits, Subject};

/// Makes one `#[tokio::test]` of each case.
///
/// `$permits` is the test crate's [`Permits`]; `$make` makes, for each case, a tuple of something
/// to keep alive and an empty tree as `Arc<dyn Storage>`.
#[macro_export]
macro_rules! contract_tests {
    ($permits:ty, $make:expr) => {
        $crate::contract_tests!(@cases $permits, $make,
            names: root_is_a_folder, nothing_is_not_found, names_in_any_script,
                names_of_255_bytes, nothing_stands_below_a_file;
            uploads: upload_appears_whole, dropped_upload_is_kept_for_its_account,
                file_hides_the_partial, partial_is_continued, empty_stage_throws_the_partial_away,
                new_never_replaces, over_replaces_the_expected, readers_keep_the_old_version,
                over_refuses_another_file, over_refuses_nothing, later_stage_takes_over,
                renamed_upload_appears_elsewhere, renamed_upload_spares_another_partial,
                discard_leaves_nothing, published_handle_is_closed, consent_is_for_one_place,
                stage_needs_a_place, moved_folder_takes_the_upload_along, one_of_many_wins_new,
                one_of_many_wins_over, folder_may_take_the_name;
            merges: unwritten_ranges_keep_the_old_content, cut_and_extended_version,
                untouched_version_is_the_old_file, existing_needs_a_file,
                random_versions_match_a_plain_buffer, many_ranges;
            files: reads_are_short_only_at_the_end, gaps_read_as_zeros, beyond_four_gib,
                offsets_without_end, modify_changes_in_place, mode_is_masked, times_are_kept,
                size_is_for_open_files, overwriting_keeps_the_mode, sync_is_honoured;
            folders: make_dir_never_replaces, remove_file_removes_files,
                remove_partial_removes_the_own_and_no_file, remove_dir_wants_an_empty_folder,
                remove_dir_takes_partials_along, rename_without_replace, rename_with_replace,
                rename_keeps_the_identity, rename_moves_no_partial, listing_in_batches,
                listing_wants_a_folder, room_is_told, purge_takes_the_old, purge_takes_the_gone;
        );
    };
    (@cases $permits:ty, $make:expr, $($room:ident: $($case:ident),* $(,)?;)*) => {
        $(mod $room {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let (_kept, storage) = ($make)();
                    let subject = $crate::Subject::<$permits>::new(storage);
                    $crate::cases::$room::$case(&subject).await;
                }
            )*
        })*
    };
}

// Package log is the segmented log of one partition replica in one directory.
// It knows no topic and no Raft.
//
// Entries are numbered by index, from 1 and without holes, and carry a term.
// Record batches live in segment files exactly as clients send and fetch them;
// all other entries live in a journal beside the segments and take no offset.
// docs/format.md draws every byte.
//
// # Order
//
// What makes recovery exact is when things are synced:
//
//   - A record of the journal is written only after all batches before it are
//     synced, and is synced before any batch after it is written. So at any
//     time only one file holds what is not durable, and a record of the
//     journal that is found proves that all before it was durable.
//   - A term begins with a record of the journal: an entry, or a record of its
//     own before the first batch. So the journal says which leader epoch, which
//     no CRC covers, each batch must have.
//   - Roll: sync the old segment and its index; create the new files; sync the
//     directory; write and sync the journal's roll record; write the mark.
//   - Truncate: sync what is written; lower the mark, both slots, synced; write
//     and sync truncate-begin; remove and cut segments and index, synced; sync
//     the directory; write and sync truncate-done. If batches were cut without
//     that record, journal entries behind them would move to other indexes.
//   - DropBefore: write and sync the journal's first record; rename the files,
//     oldest first; sync the directory; remove the files later.
//   - Settle: write and sync the journal's settle record. The entries before it
//     are given up; the segments before it stay, to be read by offset.
//   - Replace (compaction): write the files of a new generation; sync them and
//     the directory; write and sync the journal's replace record, which is the
//     moment that counts; rename the old files; remove them later. A file of a
//     generation that the journal does not know is not part of the log, and
//     neither is one that stands where a compacted segment is.
//   - The journal is written anew, where most of it is dead, as a temporary
//     file that is synced, renamed and made durable with its directory.
//   - The mark says what was durable when it was written. It is lowered before
//     anything below it is taken away, and never claims too much.
//   - The index is a cache. It is synced when its segment is sealed or cut,
//     since an entry that came back after a power loss would be believed.
//
// The index of a batch is that of its segment's first entry, plus the batches
// before it in the segment, plus the journal entries between. Batches of settled
// segments have none: compaction leaves holes there.
//
// # Compaction
//
// [Log.Compact] makes one pass over the settled segments: it gathers the newest
// offset of each key of what is dirty (from the offset that the last pass came
// to) in a map of bounded size, and then rewrites the segments from the first on
// without the records that the map knows a newer one for. Where the map is full
// the pass ends earlier, and the next one goes on from there. Why nothing is
// lost or comes back:
//
//   - A record goes only if a newer one with its key was read, whole and with
//     its CRC, from a settled segment; both are committed and durable.
//   - A tombstone goes only once its batch has a delete horizon that is over
//     (KIP-534). It gets one in a pass that compared it, or behind what that
//     pass compared, so that it goes in a pass, in order, after the groups with
//     the older records of its key.
//   - What cannot be decoded, control batches and batches of transactions stay
//     as they are, and their keys are in no map.
//   - Each group's replacement is one record of the journal: before it the old
//     files are the log, after it the new ones.
//   - The offset that passes came to is written when the last group is replaced;
//     a pass that was interrupted is made again, from the old one.
//
// # Recovery
//
//  1. Remove *.deleted and *.tmp. A directory without journal, without mark
//     and without data is new: segment, then journal are created, durably.
//  2. Read the mark: the newer valid slot of two.
//  3. Replay the journal. A torn tail is cut if it lies above what the mark, or
//     the header of a journal written anew, says was synced; below that it is
//     damage. What is read is made durable before it is acted on.
//  4. Finish a truncation that was begun and not done.
//  5. Remove segments below the log's start, empty ones that the journal does
//     not know, and what compactions left. Unknown ones with data, and missing
//     ones, are damage.
//  6. Open the sealed segments: the last entry of the index tells where they
//     end; where it does not prove good the index is built anew from the
//     batches' headers, and whatever is wrong with these is damage.
//  7. Open the last segment. Take its index up to the mark, if each entry and
//     the batch that the last one names prove good; go on by headers to the
//     mark, where everything must agree with it; from there read every byte:
//     CRC, contiguous offsets, the epochs that the journal says, journal
//     entries where they stand. Cut at the first violation, if all that was
//     known to be durable lies before it: below the mark, and below the offset
//     of any journal record, nothing is ever cut.
//  8. Unless nothing was written since a clean stop: write the tail once more
//     (after a failed sync the page cache may show what is not on disk and
//     will not be written), sync it, its index and the directory, and write
//     both slots of the mark. Only now is what is readable durable.
//
// After a clean stop that reads a few headers a segment, whatever its size.
//
// # Failures
//
// The first write or sync that fails makes the log read-only for good
// (FailedError); nothing that was not durable then is ever reported durable.
// The owner closes it and opens it again. Damage is a CorruptionError that
// names file, position, offset and cause.
//
// # Concurrency
//
// One writer at a time appends, truncates, drops, settles and replaces; Sync may
// be called beside it and serves all who wait with one sync. Compaction reads
// and writes beside them all, and is the writer for no longer than a roll takes. Readers wait for neither: they hold
// a mutex for as long as it takes to copy a few words, and a reference to the
// segment that they read, which keeps its file open. The package starts no
// goroutines but the timers that remove dropped files; Close and Abort stop
// them, and a compaction, and wait for what runs.
package log

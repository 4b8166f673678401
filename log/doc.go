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
//   - The journal is written anew, where most of it is dead, as a temporary
//     file that is synced, renamed and made durable with its directory.
//   - The mark says what was durable when it was written. It is lowered before
//     anything below it is taken away, and never claims too much.
//   - The index is a cache. It is synced when its segment is sealed or cut,
//     since an entry that came back after a power loss would be believed.
//
// The index of a batch is that of its segment's first entry, plus the batches
// before it in the segment, plus the journal entries between.
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
//  5. Remove segments below the log's start, and empty ones that the journal
//     does not know. Unknown ones with data, and missing ones, are damage.
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
// One writer at a time appends, truncates and drops; Sync may be called beside
// it and serves all who wait with one sync. Readers wait for neither: they hold
// a mutex for as long as it takes to copy a few words, and a reference to the
// segment that they read, which keeps its file open. The package starts no
// goroutines but the timers that remove dropped files; Close and Abort stop
// them and wait for one that runs.
package log

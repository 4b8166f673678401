// Package recordtext turns records into text and text into records.
//
// # Format strings
//
// A format string is kcat's: text with tokens, parsed by [Parse]. The same
// string writes records ([Format.Append]) and reads them ([Format.NewReader]),
// so what one consumer printed another producer takes.
//
//	%t topic          %p partition      %o offset        %T timestamp, ms
//	%k key            %K key length     %s value         %S value length
//	%h headers a=b,c=d                  %R value length, 4 bytes big-endian
//	%% a per cent sign
//	\n \r \t \\ \0    \xNN a byte in hexadecimal         \NNN in octal
//
// A length is −1 for null. When reading, a field ends at the text that follows
// it in the format, or, where its length came before it, after that many bytes;
// the text that ends the format ends the record.
//
// # Files
//
// A file becomes records whose key is the file's path, relative and with
// slashes. Its content is split at '\n' and every piece is one value, so that
// joining the values with '\n' in the order of their offsets gives the file
// back, byte for byte, in any language:
//
//	file         values
//	"a\nb\n"     "a" "b" ""     (what follows the last line's end is empty)
//	"a\nb"       "a" "b"
//	"\n"         "" ""
//	""           ""             (an empty file is one empty value)
//
// n line ends are thus n+1 records, no file is without a record, and no byte
// has a special meaning: carriage returns, NULs and invalid UTF-8 pass.
//
// Two headers are added, which a reader may ignore: [BeginHeader] on a file's
// first record, and [EndHeader] on its last, with the size and the CRC-32C of
// the file. [Builder] uses them to start a file anew that was sent twice, and
// to tell a file that arrived whole from one that did not.
//
// The package starts no goroutines. Memory is bounded by the limits that
// callers pass, plus a few hundred bytes for each file that a Builder saw.
package recordtext

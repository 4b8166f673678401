package table

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// A Column is a heading and the side its cells keep to.
type Column struct {
	Heading string
	Right   bool // numbers: aligned to the right
}

// Left is a column of text.
func Left(heading string) Column { return Column{Heading: heading} }

// Right is a column of numbers.
func Right(heading string) Column { return Column{Heading: heading, Right: true} }

// A Table holds rows until Write knows how wide each column must be.
type Table struct {
	Indent  string                      // written before each line
	Heading func(heading string) string // decorates a heading (colour); nil leaves it
	columns []Column
	rows    [][]string
}

// New returns an empty table of these columns.
func New(columns ...Column) *Table { return &Table{columns: columns} }

// Row appends a line. Each cell is written as fmt.Sprint does; missing cells
// are empty, and control characters become spaces, so that a row stays a line.
func (t *Table) Row(cells ...any) {
	row := make([]string, len(t.columns))
	for i := range min(len(cells), len(row)) {
		row[i] = strings.Map(printable, fmt.Sprint(cells[i]))
	}
	t.rows = append(t.rows, row)
}

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

func printable(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// Write writes headings and rows, two spaces between columns and none at the
// end of a line.
func (t *Table) Write(w io.Writer) error {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = Width(c.Heading)
		for _, row := range t.rows {
			widths[i] = max(widths[i], Width(row[i]))
		}
	}
	out := bufio.NewWriter(w)
	headings := make([]string, len(t.columns))
	for i, c := range t.columns {
		headings[i] = c.Heading
	}
	t.line(out, headings, widths, t.Heading)
	for _, row := range t.rows {
		t.line(out, row, widths, nil)
	}
	return out.Flush()
}

func (t *Table) line(out *bufio.Writer, cells []string, widths []int, decorate func(string) string) {
	out.WriteString(t.Indent)
	last := len(cells) - 1
	for last > 0 && cells[last] == "" {
		last--
	}
	for i, cell := range cells[:last+1] {
		if i > 0 {
			out.WriteString("  ")
		}
		pad := strings.Repeat(" ", widths[i]-Width(cell))
		if decorate != nil {
			cell = decorate(cell)
		}
		switch {
		case t.columns[i].Right:
			out.WriteString(pad + cell)
		case i == last:
			out.WriteString(cell)
		default:
			out.WriteString(cell + pad)
		}
	}
	out.WriteByte('\n')
}

// Width is the number of terminal cells that s takes: none for combining marks
// and format characters, two for East Asian wide characters and emoji (Unicode
// annex 11), one for all else.
func Width(s string) int {
	width := 0
	for _, r := range s {
		switch {
		case r < 0x300:
			width++
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case unicode.Is(wide, r):
			width += 2
		default:
			width++
		}
	}
	return width
}

// wide holds the blocks that annex 11 calls wide or fullwidth, coarsely.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1},
		{Lo: 0x231a, Hi: 0x231b, Stride: 1},
		{Lo: 0x2e80, Hi: 0x303e, Stride: 1},
		{Lo: 0x3041, Hi: 0x33ff, Stride: 1},
		{Lo: 0x3400, Hi: 0x4dbf, Stride: 1},
		{Lo: 0x4e00, Hi: 0x9fff, Stride: 1},
		{Lo: 0xa000, Hi: 0xa4cf, Stride: 1},
		{Lo: 0xa960, Hi: 0xa97f, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1},
		{Lo: 0xfe30, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff00, Hi: 0xff60, Stride: 1},
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x16fe0, Hi: 0x18aff, Stride: 1},
		{Lo: 0x1b000, Hi: 0x1b2ff, Stride: 1},
		{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1},
		{Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1},
		{Lo: 0x1f900, Hi: 0x1faff, Stride: 1},
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}

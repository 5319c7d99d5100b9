package ledger

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"

	"reuseport-bench/results"
	"reuseport-bench/results/input"
	"reuseport-bench/results/jsonfile"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

// The name and the version of the format of recordings. The format is not a contract: after a
// change it gets a new version, and recordings of other versions are refused and must be recorded
// again.
const (
	recordingFormat  = "reuseport-bench facts"
	recordingVersion = 2
)

// A Recording holds the verdicts of a trial and everything on which they are based. Its file has
// gzipped JSON lines: first a Header, then lines that each set one field of recordingLine, in the
// order of these fields. The last line is the trial; a file without it is incomplete.
type Recording struct {
	Header   Header
	Load     Load
	Facts    *Facts
	Samples  []results.Sample // instants are offsets from the first scheduled attempt
	Records  []WorkerRecord   // of all workers, in the order in which the book received them
	Verdicts []RecordedVerdict
	Trial    *results.Trial // without its windows
}

// A Header is the first line of a recording. It identifies the format and the trial.
type Header struct {
	Format     string            `json:"format"`
	Version    int               `json:"version"`
	Program    string            `json:"program"` // the version of this program
	Kernel     string            `json:"kernel"`
	Privileged bool              `json:"privileged"`
	Scenario   string            `json:"scenario"`
	Labels     map[string]string `json:"labels"`
	Block      int               `json:"block"`
	Order      int               `json:"order"`
	// Words are the words of the scenario language that the trial used, such as "path: direct".
	Words []string `json:"words,omitempty"`
}

// A WorkerRecord is an entry of a worker's journal.
type WorkerRecord struct {
	Worker int
	journal.Record
}

// A RecordedVerdict is the verdict of a lost or unexplained attempt, with the attempt's index in
// the schedule. Attempts without a RecordedVerdict were served, and the client's and the servers'
// accounts of them agree.
type RecordedVerdict struct {
	Attempt   int    `json:"attempt"`
	Server    string `json:"server"` // the servers' account, a State
	Cause     string `json:"cause,omitempty"`
	Evidence  string `json:"evidence,omitempty"`
	Worker    int    `json:"worker"` // -1: no single worker
	Rule      string `json:"rule,omitempty"`
	Explained bool   `json:"explained"`
	Step      *int   `json:"step,omitempty"`
	Kernel    string `json:"kernel,omitempty"` // the kernel's event
}

// Verdicts returns the verdicts of the lost and unexplained attempts, in the order of the schedule.
func (a *Account) Verdicts() (all []RecordedVerdict) {
	for i := range a.Attempts() {
		v, ok := a.verdicts[i]
		if !ok {
			continue
		}
		r := RecordedVerdict{
			Attempt: i, Server: a.book.attempts[i].State.String(),
			Cause: v.Cause, Evidence: v.Evidence.String(),
			Worker: v.Worker, Rule: v.Rule, Explained: v.Explained,
		}
		if s, ok := a.stepOf[i]; ok {
			r.Step = &s
		}
		if v.Kernel != nil {
			r.Kernel = v.Kernel.String()
		}
		all = append(all, r)
	}
	return all
}

// A recorder keeps the samples and records of a book while a trial runs. It takes some 600 bytes
// for each attempt. A nil recorder keeps nothing.
type recorder struct {
	samples []results.Sample
	records []WorkerRecord
}

// Keep makes the book keep all further samples and records for Account.Recording.
func (b *Book) Keep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recorder = &recorder{}
}

func (r *recorder) sample(s *results.Sample) {
	if r == nil {
		return
	}
	kept := *s
	kept.Failed = slices.Clone(s.Failed)
	r.samples = append(r.samples, kept)
}

func (r *recorder) record(worker int, record journal.Record) {
	if r != nil {
		r.records = append(r.records, WorkerRecord{worker, record})
	}
}

// Recording returns everything on which the account is based. If Book.Keep was not called, it
// returns nil. The caller fills in the header and the trial.
func (a *Account) Recording() *Recording {
	b := a.book
	if b.recorder == nil {
		return nil
	}
	r := &Recording{
		Load: b.load, Facts: b.factsFromBegin(a.facts), Verdicts: a.Verdicts(),
		Samples: b.recorder.samples, Records: b.recorder.records,
	}
	shift := func(ns *int64) {
		if *ns != 0 {
			*ns = int64(b.time(*ns))
		}
	}
	for i := range r.Samples {
		s := &r.Samples[i]
		for _, ns := range []*int64{
			&s.Scheduled, &s.Sent, &s.Connected, &s.FirstByte, &s.Done, &s.LastSent,
		} {
			shift(ns)
		}
	}
	for i := range r.Records {
		r.Records[i].At -= b.begin
	}
	return r
}

// factsFromBegin returns the facts with the witness's instants turned into offsets from the instant
// of the first scheduled attempt. It does not modify its argument.
func (b *Book) factsFromBegin(f *Facts) *Facts {
	if f.Witness == nil {
		return f
	}
	facts, seen := *f, *f.Witness
	facts.Witness, seen.Ends = &seen, slices.Clone(seen.Ends)
	for i := range seen.Ends {
		e := &seen.Ends[i]
		for _, at := range []*clock.Instant{&e.Born, &e.FirstRead, &e.Closed, &e.Ended} {
			if *at != 0 {
				*at -= b.begin
			}
		}
	}
	return &facts
}

// Judge judges a recorded trial by the current rules.
func (r *Recording) Judge() (*Account, error) {
	b, err := NewBook(r.Load)
	if err != nil {
		return nil, err
	}
	for i := range r.Samples {
		b.Sample(&r.Samples[i])
	}
	for _, record := range r.Records {
		b.Record(record.Worker, record.Record)
	}
	return b.Close(r.Facts), nil
}

type recordingLine struct {
	Load    *Load            `json:"load,omitempty"`
	Facts   *Facts           `json:"facts,omitempty"`
	Sample  *recordedSample  `json:"sample,omitempty"`
	Record  *recordedRecord  `json:"record,omitempty"`
	Verdict *RecordedVerdict `json:"verdict,omitempty"`
	Trial   *results.Trial   `json:"trial,omitempty"`
}

// A recordedSample is a results.Sample. An instant that was not reached is 0 and omitted.
type recordedSample struct {
	Process    int                 `json:"p,omitempty"`
	Sequence   uint64              `json:"n"`
	Scheduled  int64               `json:"scheduled"`
	Sent       int64               `json:"sent,omitempty"`
	Connected  int64               `json:"connected,omitempty"`
	FirstByte  int64               `json:"first_byte,omitempty"`
	Done       int64               `json:"done,omitempty"`
	Source     netip.AddrPort      `json:"source,omitzero"`
	Phase      results.Phase       `json:"phase,omitempty"`
	Class      results.Class       `json:"class,omitempty"`
	Status     int                 `json:"status,omitempty"`
	Errno      int                 `json:"errno,omitempty"`
	Worker     int                 `json:"worker"`
	Generation int                 `json:"generation"`
	Failed     []results.FailedTry `json:"failed,omitempty"`
	LastSent   int64               `json:"last_sent,omitempty"`
	GaveUp     results.GaveUp      `json:"gave_up,omitempty"`
	Unverified bool                `json:"unverified,omitempty"`
	Retriable  bool                `json:"retriable,omitempty"`
	Written    int                 `json:"written,omitempty"`
	Received   int                 `json:"received,omitempty"`
}

// A recordedRecord is a journal.Record of a worker.
type recordedRecord struct {
	Worker     int            `json:"w"`
	At         int64          `json:"at"`
	Conn       uint32         `json:"conn"`
	Kind       journal.Kind   `json:"kind"`
	Peer       netip.AddrPort `json:"peer,omitzero"`
	Process    uint16         `json:"p,omitempty"`
	Sequence   uint64         `json:"n,omitempty"`
	Try        uint8          `json:"try,omitempty"`
	Identified bool           `json:"identified,omitempty"`
	End        journal.End    `json:"end,omitempty"`
}

// validate checks a load that was read from a file.
func (l *Load) validate() error {
	if l.Processes < 1 || l.Tries < 1 || l.Tries > wire.MaxTry+1 {
		return fmt.Errorf("the load cannot have %d processes and %d tries", l.Processes, l.Tries)
	}
	if l.RoundTrip < 0 {
		return fmt.Errorf("the round trip cannot be %v", l.RoundTrip)
	}
	return l.Shape.Validate()
}

// Write writes the recording as compressed lines.
func (r *Recording) Write(w io.Writer) error {
	buffer := bufio.NewWriter(w)
	packed := gzip.NewWriter(buffer)
	return cmp.Or(r.writeLines(packed), packed.Close(), buffer.Flush())
}

func (r *Recording) writeLines(w io.Writer) error {
	header := r.Header
	header.Format, header.Version = recordingFormat, recordingVersion
	out := json.NewEncoder(w)
	err := cmp.Or(
		out.Encode(header),
		out.Encode(recordingLine{Load: &r.Load}),
		out.Encode(recordingLine{Facts: r.Facts}),
	)
	for i := range r.Samples {
		s := &r.Samples[i]
		err = cmp.Or(err, out.Encode(recordingLine{Sample: &recordedSample{
			s.Process, s.Sequence, s.Scheduled, s.Sent, s.Connected, s.FirstByte, s.Done,
			s.Source, s.Phase, s.Class, s.Status, s.Errno, s.Worker, s.Generation,
			s.Failed, s.LastSent, s.GaveUp, s.Unverified, s.Retriable, s.Written, s.Received,
		}}))
	}
	for _, x := range r.Records {
		err = cmp.Or(err, out.Encode(recordingLine{Record: &recordedRecord{
			x.Worker, int64(x.At), x.Conn, x.Kind, x.Peer,
			x.Attempt.Process, x.Attempt.Sequence, x.Attempt.Try, x.Identified, x.End,
		}}))
	}
	for i := range r.Verdicts {
		err = cmp.Or(err, out.Encode(recordingLine{Verdict: &r.Verdicts[i]}))
	}
	return cmp.Or(err, out.Encode(recordingLine{Trial: r.Trial}))
}

// ReadRecording reads a file written by Write. Its errors name the file and the line, and tell the
// user to record the trial again.
func ReadRecording(path string) (*Recording, error) {
	file, err := input.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, recordAgain)
	}
	defer file.Close()
	r := &Recording{}
	if line, err := r.decode(file); err != nil {
		return nil, fmt.Errorf("%s:%d: %w; %s", input.Name(path), line, err, recordAgain)
	}
	return r, nil
}

// recordAgain is the hint in errors about a recording that cannot be read.
const recordAgain = "record it again with 'run --keep-facts'"

// Limits on the contents of a recording, so that a small compressed file cannot exhaust memory.
const (
	maxBytes = 16 << 30
	// maxLine is the maximum length of a line, in bytes. The longest line holds the facts, with
	// some 150 bytes for each of at most 2^20 kernel events.
	maxLine = 512 << 20
	// minLines and linesPerTry limit the number of lines: linesPerTry for the sample and the
	// records of each try, and minLines for everything else, such as the records of health checks.
	minLines    = 1 << 18
	linesPerTry = 16
)

// decode reads a recording. If it fails, line is the number of the line with the error.
func (r *Recording) decode(in io.Reader) (line int, err error) {
	unpacked, err := input.Decompressed(in)
	if err != nil {
		return 1, err
	}
	d := jsonfile.NewDecoder(unpacked, jsonfile.Limits{Bytes: maxBytes, Piece: maxLine})
	if err := r.checkHeader(d.Next(&r.Header)); err != nil {
		return 1, err
	}
	for n := 2; ; n++ {
		var l recordingLine
		err := d.Next(&l)
		var wrong *jsonfile.Error
		switch {
		case errors.As(err, &wrong):
			return wrong.Line, wrong
		case err == io.EOF && r.Facts != nil && r.Trial != nil && r.Load.Processes > 0:
			return d.Line(), nil
		case err == io.EOF:
			err = errors.New("the recording ends before its trial")
		case n > r.maxLines():
			err = errors.New("more lines than the attempts of its load can have")
		default:
			err = r.add(&l)
		}
		if err != nil {
			return d.Line(), err
		}
	}
}

// maxLines returns the largest plausible number of lines.
func (r *Recording) maxLines() int {
	shape := r.Load.Shape
	attempts := max(shape.Expected(), shape.Peak()*shape.Duration.Seconds()) // an upper bound
	return minLines + linesPerTry*int(attempts)*int(max(1, r.Load.Tries))
}

// checkHeader checks the first line. err is the error of decoding that line, or nil.
func (r *Recording) checkHeader(err error) error {
	var wrong *jsonfile.Error
	switch {
	case errors.As(err, &wrong) && wrong.Syntax:
		return err
	case r.Header.Format != recordingFormat:
		return errors.New("not a recording of a trial")
	case r.Header.Version != recordingVersion: // first, because it explains unknown fields
		return fmt.Errorf("the recording has version %d, this program reads version %d",
			r.Header.Version, recordingVersion)
	}
	return err
}

// add adds the content of a line.
func (r *Recording) add(l *recordingLine) error {
	switch {
	case l.Load != nil:
		r.Load = *l.Load
		return r.Load.validate()
	case l.Facts != nil:
		r.Facts = l.Facts
	case l.Sample != nil:
		s := l.Sample
		r.Samples = append(r.Samples, results.Sample{
			Process: s.Process, Sequence: s.Sequence, Scheduled: s.Scheduled, Sent: s.Sent,
			Connected: s.Connected, FirstByte: s.FirstByte, Done: s.Done, Source: s.Source,
			Phase: s.Phase, Class: s.Class, Status: s.Status, Errno: s.Errno,
			Worker: s.Worker, Generation: s.Generation,
			Failed: s.Failed, LastSent: s.LastSent, GaveUp: s.GaveUp,
			Unverified: s.Unverified, Retriable: s.Retriable,
			Written: s.Written, Received: s.Received,
		})
	case l.Record != nil:
		x := l.Record
		r.Records = append(r.Records, WorkerRecord{x.Worker, journal.Record{
			At: clock.Instant(x.At), Conn: x.Conn, Kind: x.Kind, Peer: x.Peer,
			Identified: x.Identified, End: x.End,
			Attempt: wire.Attempt{Process: x.Process, Sequence: x.Sequence, Try: x.Try},
		}})
	case l.Verdict != nil:
		r.Verdicts = append(r.Verdicts, *l.Verdict)
	case l.Trial != nil:
		r.Trial = l.Trial
	default:
		return errors.New("the line has no fields")
	}
	return nil
}

// Changes compares two lists of verdicts of one trial. It returns a line for each attempt whose
// verdict differs.
func Changes(before, after []RecordedVerdict) (lines []string) {
	was, is := map[int]RecordedVerdict{}, map[int]RecordedVerdict{}
	for _, v := range before {
		was[v.Attempt] = v
	}
	for _, v := range after {
		is[v.Attempt] = v
	}
	attempts := slices.AppendSeq(slices.Collect(maps.Keys(was)), maps.Keys(is))
	slices.Sort(attempts)
	for _, i := range slices.Compact(attempts) {
		if a, b := describe(was[i]), describe(is[i]); a != b {
			lines = append(lines, fmt.Sprintf("attempt %d: %s, was %s", i, b, a))
		}
	}
	return lines
}

// describe returns a verdict as text, or "served" for the zero value. It omits the rule, because
// its name may change without changing the verdict.
func describe(v RecordedVerdict) string {
	if v.Cause == "" && v.Evidence == "" && v.Server == "" {
		return "served"
	}
	text := cmp.Or(v.Cause, "served") + ", " + cmp.Or(v.Server, "answered")
	if v.Evidence != "" {
		text += " (" + v.Evidence + ")"
	}
	if v.Worker >= 0 {
		text += fmt.Sprintf(" by worker %d", v.Worker)
	}
	if v.Step != nil {
		text += fmt.Sprintf(" at step %d", *v.Step)
	}
	if v.Kernel != "" {
		text += ", " + v.Kernel
	}
	if !v.Explained {
		text += ", unexplained"
	}
	return text
}

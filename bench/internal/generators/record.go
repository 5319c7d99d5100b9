package generators

import (
	"errors"
	"fmt"
	"io"
	"time"

	"reuseport-bench/results/input"
	"reuseport-bench/results/jsonfile"
)

// RecordVersion is the version of a Record's format.
const RecordVersion = 1

// A Record holds the results of one call of Measure, and describes the machine.
type Record struct {
	Version    int          `json:"generators_version"` // RecordVersion
	Program    string       `json:"program_version"`
	StartedAt  time.Time    `json:"started_at"`
	Kernel     string       `json:"kernel"` // uname -r
	Go         string       `json:"go"`
	CPUModel   string       `json:"cpu_model"`
	CPUs       int          `json:"cpus"`    // usable by the program
	Seconds    int          `json:"seconds"` // duration of one measurement
	Rounds     int          `json:"rounds"`  // rounds run; Generators has those that were kept
	Generators []*Generator `json:"generators"`
}

// A summed is a Record in the form of a file. The checksum covers the other fields: see
// jsonfile.Decoder.Checksum.
type summed struct {
	*Record
	Checksum string `json:"checksum,omitempty"`
}

// maxRecord is the maximum size of a file, in bytes. It suffices for hundreds of rounds.
const maxRecord = 1 << 20

// Write writes the record as JSON, with its checksum.
func (r *Record) Write(w io.Writer) error {
	sum, err := jsonfile.Checksum(summed{Record: r})
	if err != nil {
		return err
	}
	return jsonfile.EncodeIndented(w, summed{r, sum})
}

// ReadRecord reads a file that Write has written. A wrong checksum is an error.
func ReadRecord(path string) (*Record, error) {
	f, err := input.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := jsonfile.NewDecoder(f, jsonfile.Limits{Bytes: maxRecord})
	stored := summed{Record: &Record{}}
	if err := d.Decode(&stored); err != nil {
		return nil, fmt.Errorf("%s: not a record of bench-engine: %w", input.Name(path), err)
	}
	sum, _ := d.Checksum()
	switch {
	case stored.Version != RecordVersion:
		err = fmt.Errorf("its version is %d, this program reads %d", stored.Version, RecordVersion)
	case stored.Checksum != sum:
		err = errors.New("its checksum is wrong: a damaged copy, or edited by hand")
	default:
		return stored.Record, nil
	}
	return nil, fmt.Errorf("%s: %w", input.Name(path), err)
}

package results

import "fmt"

// QuickLook returns a note for a scenario with fewer trials than its gates need, as in run --quick:
// "quick: 1 of 4 trials that gates need; decides nothing". For other scenarios it returns "".
func QuickLook(trials, minValid int) string {
	if trials >= minValid || trials < 1 {
		return ""
	}
	return fmt.Sprintf("quick: %d of %d trials that gates need; decides nothing", trials, minValid)
}

// QuickLook returns the note for the scenario's trials.
func (s *Scenario) QuickLook() string { return QuickLook(s.Trials, s.MinValid) }

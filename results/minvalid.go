package results

import "fmt"

// QuickLook returns a note if a scenario has fewer trials than its gates need, as in run --quick:
// "quick: 1 of 4 trials that gates need; decides nothing". Otherwise it returns "".
func QuickLook(trials, minValid int) string {
	if trials >= minValid || trials < 1 {
		return ""
	}
	return fmt.Sprintf("quick: %d of %d trials that gates need; decides nothing", trials, minValid)
}

// QuickLook returns the note for the scenario's trials.
func (s *Scenario) QuickLook() string { return QuickLook(s.Trials, s.MinValid) }

// LoweredMinValid returns a note if --trials lowered the scenario's min_valid from own to needed:
// "min_valid 2 instead of 4, because of --trials". Otherwise it returns "".
func LoweredMinValid(needed, own int) string {
	if needed >= own {
		return ""
	}
	return fmt.Sprintf("min_valid %d instead of %d, because of --trials", needed, own)
}

// LoweredMinValid returns the note for the scenario's min_valid.
func (s *Scenario) LoweredMinValid() string {
	return LoweredMinValid(s.MinValid, s.ScenarioMinValid)
}

package vocabulary

import "cmp"

// renamedScenarios holds the current names of scenarios by their old ones. Command lines and runs
// that have an old name keep working.
var renamedScenarios = map[string]string{
	"rolling-restart": "restart", // it replaces all workers at once; roll replaces them in turn
}

// ScenarioName returns the current name of the scenario that is, or was, called name.
func ScenarioName(name string) string { return cmp.Or(renamedScenarios[name], name) }

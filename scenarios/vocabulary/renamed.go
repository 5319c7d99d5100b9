package vocabulary

import "cmp"

// renamedScenarios maps old names of scenarios to the current ones, so that command lines and runs
// with an old name keep working.
var renamedScenarios = map[string]string{
	"rolling-restart": "restart", // it replaces all workers at once; roll, one after another
}

// ScenarioName returns the current name of the scenario whose current or old name is name.
func ScenarioName(name string) string { return cmp.Or(renamedScenarios[name], name) }

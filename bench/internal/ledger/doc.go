// Package ledger says what became of every attempt of a trial, and why. It is pure: it starts no
// process, opens no socket and reads no clock, so whatever it decides can be decided again from
// recorded facts.
//
//	facts.go     what a trial hands over: workers, closed listeners, steps, kernel events, routes
//	book.go      joins the client's samples with the servers' journals, attempt by attempt
//	tries.go     the tries of attempts that were repeated
//	rules.go     the rules that name a loss's cause, first match wins, each with its evidence
//	judge.go     applies them: once by attempt, then what rests on a count takes what it counts
//	routes.go    where connections went behind a Service
//	account.go   the judged trial: totals, lost attempts, rows of the ledger
//	steps.go     what each step cost: gap, outage, stall, takeover, tail
//	validity.go  whether the trial measured its servers
package ledger

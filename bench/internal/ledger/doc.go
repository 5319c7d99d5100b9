// Package ledger decides how every attempt of a trial ended, and why. It is pure: it starts no
// process, opens no socket and reads no clock, so every decision can be repeated from recorded
// facts.
//
//	facts.go     the facts of a trial: workers, closed listeners, steps, kernel events, routes
//	book.go      joins the client's samples with the servers' journals, attempt by attempt
//	tries.go     the tries of attempts that clients retried
//	rules.go     the rules that name the cause of a loss, each with its evidence; first match wins
//	judge.go     applies the rules in two passes; the second handles rules limited by a count
//	routes.go    where a Service sent connections
//	account.go   the judged trial: totals, lost attempts, the table of outcomes
//	steps.go     what each step cost: gap, outage, stall, takeover, tail
//	validity.go  whether the trial measured its servers
package ledger

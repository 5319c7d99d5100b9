package vocabulary

// Pace is the way in which attempts are spread over the duration of the schedule.
type Pace string

// The paces.
const (
	PaceConstant Pace = "constant"
	PacePoisson  Pace = "poisson"
	PaceRamp     Pace = "ramp"
	PaceBurst    Pace = "burst"
)

var paces = []Row[Pace]{
	{PaceConstant, "at equal intervals"},
	{PacePoisson, "independent arrivals with exponential intervals; all variants of a block " +
		"have the same arrival times"},
	{PaceRamp, "evenly, at a rate that grows from load.from to load.rate"},
	{PaceBurst, "load.burst attempts at the same time, then a pause"},
}

// Connections is the way in which attempts get a connection.
type Connections string

// The ways to get a connection.
const (
	// ConnectionsNew: every attempt opens a connection and asks the server to close it.
	ConnectionsNew Connections = "new"
	// ConnectionsReused: an attempt uses the most recently used idle connection that the server has
	// not closed. If there is none, it opens a new connection.
	ConnectionsReused Connections = "reused"
	ConnectionsMixed  Connections = "mixed"
)

var connections = []PhrasedRow[Connections]{
	{ConnectionsNew, "one connection per attempt", "new connections"},
	{ConnectionsReused, "an idle connection (keep-alive), or a new connection if none is idle",
		"kept connections"},
	{ConnectionsMixed, "new and reused connections in turn", "new and kept connections"},
}

// Jitter is the way in which the waits before retries are randomized, so that clients that failed
// at the same time do not retry at the same time.
type Jitter string

// The jitters.
const (
	JitterNone Jitter = "none"
	// JitterFull is the jitter that gRPC (proposal A6) and AWS ("Exponential Backoff and Jitter")
	// use.
	JitterFull Jitter = "full"
)

var jitters = []Row[Jitter]{
	{JitterNone, "every wait is as long as the backoff"},
	{JitterFull, "every wait is a random time between 0 and the backoff, so that clients that " +
		"failed together do not retry together"},
}

// RetryCause is a failure that a client may retry.
type RetryCause string

// The failures. RetrySafe stands for several of them, and RetryNonIdempotent extends
// RetryUnanswered to requests that are not idempotent.
const (
	RetrySafe           RetryCause = "safe"
	RetryRefused        RetryCause = "refused"
	RetryUnreachable    RetryCause = "unreachable"
	RetryConnectTimeout RetryCause = "connect-timeout"
	RetryUnsent         RetryCause = "unsent"
	RetryUnanswered     RetryCause = "unanswered"
	RetryNonIdempotent  RetryCause = "non-idempotent"
)

// A RetryCauseRow is the row of a RetryCause.
type RetryCauseRow struct {
	Name RetryCause
	Doc  string
	// Failure is true if a try can fail in this way. Rows in which it is false stand for several
	// failures or extend one.
	Failure bool
}

var retryCauses = []RetryCauseRow{
	{Name: RetrySafe, Doc: "all failures of this list; non-idempotent is not included"},
	{Name: RetryRefused, Failure: true, Doc: "the connection was refused"},
	{Name: RetryUnreachable, Failure: true, Doc: "the network reported that the address is " +
		"unreachable"},
	{Name: RetryConnectTimeout, Failure: true,
		Doc: "no connection was established within load.retry.connect_timeout"},
	{Name: RetryUnsent, Failure: true,
		Doc: "the connection ended before a byte of the request was sent"},
	{Name: RetryUnanswered, Failure: true,
		Doc: "the connection ended after a byte of the request was sent and before a byte of " +
			"the response arrived; GET only"},
	{Name: RetryNonIdempotent,
		Doc: "extends unanswered to POST, so that a server may execute a request twice"},
}

func (r RetryCauseRow) value() Value { return Value{Name: string(r.Name), Doc: r.Doc} }

// SafeRetries returns the failures that RetrySafe stands for. These are all rows with Failure,
// because a retry after any of them does no harm.
func SafeRetries() (all []RetryCause) {
	for _, r := range retryCauses {
		if r.Failure {
			all = append(all, r.Name)
		}
	}
	return all
}

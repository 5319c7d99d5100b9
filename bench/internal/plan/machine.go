package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"reuseport-bench/bench/internal/kernel"
)

// A Machine describes the machine that will carry out a plan.
type Machine struct {
	CPUs []int // the usable CPUs, ascending
	// Topology says which CPUs share a core or a memory node. A CPU that Topology omits counts as a
	// core of its own.
	Topology kernel.Topology
	// Missing maps each missing capability and program to the reason why it is missing. The key of
	// a capability is the name of its probe; that of a program is its MissingCommand.
	Missing map[string]string
	// Wanted is the placement that the user asked for. The zero value leaves the choice to Place.
	Wanted Placement
}

// A Placement assigns CPUs to the load, the servers and the harness for the time while the load
// runs.
type Placement struct {
	Load, Servers []int
	Harness       []int // CPUs of this program itself
	// Notes are messages for the user about the choice, such as that CPUs are unused or shared.
	Notes []string
}

// Place chooses the CPUs for load, harness and servers, unless m.Wanted sets them.
//
// Load, harness and servers share no core if there are at least three. Load and harness use one
// hardware thread of each of their cores, and the other threads of these cores stay idle. Servers
// use all threads of their cores, as in production. Place takes only cores of the fastest kind that
// has at least three cores, and of these only cores on one memory node if a node has at least
// three.
//
// With a CPU quota of n CPUs, Place uses n cores, rounded down but at least two, and one thread of
// each. Two cores are safe even with a smaller quota: a quota limits CPU time, and load and servers
// use no more CPU time on two CPUs than on one.
//
// A quarter of the cores are for the load, one is for the harness, and the others are for the
// servers. With two cores, the harness gets the second thread of the load's core. If that core has
// only one thread, the harness shares the load's CPU. If this disturbs the load, the load reports
// schedule lag.
func (m Machine) Place() Placement {
	if len(m.Wanted.Load) > 0 {
		return m.wanted()
	}
	var p Placement
	cores := m.cores()
	cores = p.ofOneKind(cores)
	cores = p.ofOneNode(cores)
	cores = p.withinQuota(cores, m.Topology.Quota)
	if len(cores) == 1 {
		return p.onOneCore(cores[0])
	}
	n := max(1, len(cores)/4)
	for _, c := range cores[:n] {
		p.Load = append(p.Load, c.cpus[0])
	}
	rest := cores[n:]
	switch first := cores[0].cpus; {
	case len(cores) > 2:
		p.Harness, rest = rest[0].cpus[:1], rest[1:]
	case len(first) > 1:
		p.Harness = first[1:2]
		p.note("this program has the second thread of the load's core: " +
			"with a third core it would have one of its own")
	default:
		p.Harness = p.Load
		p.note("this program shares the load's CPU: with a third it would have one of its own")
	}
	for _, c := range rest {
		p.Servers = append(p.Servers, c.cpus...)
	}
	for _, cpus := range []*[]int{&p.Load, &p.Harness, &p.Servers} {
		*cpus = slices.Sorted(slices.Values(*cpus))
	}
	return p
}

func (p *Placement) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// onOneCore divides the threads of one core among load, harness and servers.
func (p *Placement) onOneCore(c core) Placement {
	p.Load, p.Harness, p.Servers = c.cpus[:1], c.cpus[:1], c.cpus[1:]
	if len(c.cpus) == 1 {
		p.Servers = c.cpus
		p.note("load and servers share the only CPU: they disturb each other")
		return *p
	}
	p.note("load and servers are threads of one core: they slow each other down")
	p.note("this program shares the load's CPU")
	return *p
}

// A core holds the usable CPUs of a physical core.
type core struct {
	cpus           []int // the CPUs of its hardware threads, ascending
	node, capacity int
}

// cores returns the cores with usable CPUs, in the order of each core's first CPU.
func (m Machine) cores() (all []core) {
	known := map[int]kernel.CPU{}
	for _, c := range m.Topology.CPUs {
		known[c.Number] = c
	}
	place := map[int]int{}
	for _, number := range m.CPUs {
		c, ok := known[number]
		if !ok {
			c = kernel.CPU{Number: number, Core: number}
		}
		i, ok := place[c.Core]
		if !ok {
			i = len(all)
			place[c.Core] = i
			all = append(all, core{node: c.Node, capacity: c.Capacity})
		}
		all[i].cpus = append(all[i].cpus, number)
	}
	return all
}

// enoughCores is the number of cores with which load, harness and servers have one each.
const enoughCores = 3

// ofOneKind returns the cores of the fastest kind that has at least enoughCores, or all cores if no
// kind has that many.
func (p *Placement) ofOneKind(cores []core) []core {
	kinds := group(cores, func(c core) int { return -c.capacity })
	for _, kind := range kinds {
		if len(kind) < enoughCores || len(kinds) == 1 {
			continue
		}
		p.note("%d of %d cores: the fastest kind with at least %d",
			len(kind), len(cores), enoughCores)
		return kind
	}
	if len(kinds) > 1 {
		p.note("cores of %d kinds: latency depends on which of them a worker runs on", len(kinds))
	}
	return cores
}

// ofOneNode returns the cores of the memory node that has the most of them. If that node has fewer
// than enoughCores, it returns all cores.
func (p *Placement) ofOneNode(cores []core) []core {
	nodes := group(cores, func(c core) int { return c.node })
	bySize := func(a, b []core) int { return cmp.Compare(len(a), len(b)) }
	largest := slices.MaxFunc(nodes, bySize)
	switch {
	case len(nodes) == 1:
		return cores
	case len(largest) < enoughCores:
		p.note("cores of %d nodes of memory", len(nodes))
		return cores
	}
	p.note("%d of %d cores: those of memory node %d; --cpus chooses others",
		len(largest), len(cores), largest[0].node)
	return largest
}

// withinQuota returns the first n cores with one thread each, where n is the quota, in CPUs,
// rounded down, but at least two. If the quota allows all threads, or is 0 for no quota,
// withinQuota returns all cores unchanged.
func (p *Placement) withinQuota(cores []core, quota float64) []core {
	threads := 0
	for _, c := range cores {
		threads += len(c.cpus)
	}
	if quota == 0 || float64(threads) <= quota {
		return cores
	}
	n := min(len(cores), max(2, int(quota)))
	switch {
	case n < len(cores):
		p.note("%d of %d cores: the CPU quota is %s", n, len(cores), quotaCPUs(quota))
	case n > 1 && threads > n:
		p.note("one thread of each core: the CPU quota is %s", quotaCPUs(quota))
	}
	if float64(n) > quota {
		p.note("trials that use more than %s are stopped by the quota, and invalid",
			quotaCPUs(quota))
	}
	if len(cores) > 1 {
		for i := range cores {
			cores[i].cpus = cores[i].cpus[:1]
		}
	}
	return cores[:n]
}

func quotaCPUs(n float64) string {
	if n == 1 {
		return "1 CPU"
	}
	return fmt.Sprintf("%.4g CPUs", n)
}

// group divides the cores into groups with equal keys, in ascending order of the keys. It keeps the
// order of cores within a group.
func group(cores []core, key func(core) int) (groups [][]core) {
	byKey := func(a, b core) int { return cmp.Compare(key(a), key(b)) }
	sorted := slices.SortedStableFunc(slices.Values(cores), byKey)
	for len(sorted) > 0 {
		n := slices.IndexFunc(sorted, func(c core) bool { return key(c) != key(sorted[0]) })
		if n < 0 {
			n = len(sorted)
		}
		groups, sorted = append(groups, sorted[:n:n]), sorted[n:]
	}
	return groups
}

// wanted returns m.Wanted. If that has no CPU for the harness, the harness gets a core that neither
// load nor servers use. If there is no such core, the harness shares the load's CPU.
func (m Machine) wanted() Placement {
	p := m.Wanted
	p.Notes = nil
	cores := m.cores()
	for _, c := range cores {
		if common(c.cpus, p.Load) && common(c.cpus, p.Servers) {
			p.note("load and servers share a core (CPUs %s): they slow each other down",
				describeCPUs(c.cpus))
		}
	}
	if len(p.Harness) == 0 {
		p.Harness = p.Load[:1]
		taken := slices.Concat(p.Load, p.Servers)
		free := func(c core) bool { return !common(c.cpus, taken) }
		if i := slices.IndexFunc(cores, free); i >= 0 {
			p.Harness = cores[i].cpus[:1]
		}
	}
	switch {
	case common(p.Harness, p.Servers):
		p.note("this program shares a CPU with the servers, and disturbs them")
	case common(p.Harness, p.Load):
		p.note("this program shares the load's CPU")
	}
	return p
}

// common reports whether the lists have an element in common.
func common(a, b []int) bool {
	return slices.ContainsFunc(a, func(cpu int) bool { return slices.Contains(b, cpu) })
}

// ParsePlacement parses a placement on the usable CPUs, such as "load=0-3,servers=4-7,8,harness=9".
// The harness is optional. Load and servers must both have CPUs, and none in common.
func ParsePlacement(text string, usable []int) (p Placement, err error) {
	example := fmt.Sprintf("for example load=%d,servers=%d", usable[0], usable[len(usable)-1])
	lists := map[string]*[]int{"load": &p.Load, "servers": &p.Servers, "harness": &p.Harness}
	var current *[]int
	for item := range strings.SplitSeq(text, ",") {
		name, cpus, named := strings.Cut(item, "=")
		switch {
		case item == "" && text != "":
			return p, fmt.Errorf("%q has an empty element: a comma too many", text)
		case strings.ContainsAny(item, " \t\n"):
			return p, fmt.Errorf("%q has a blank in it; write it without, %s", item, example)
		case !named && current == nil:
			return p, fmt.Errorf("%q: say whose CPUs these are, %s", item, example)
		case !named:
			cpus = name
		case lists[name] == nil:
			return p, fmt.Errorf("%q: want load, servers or harness, %s", name, example)
		case len(*lists[name]) > 0:
			return p, fmt.Errorf("%s is given twice", name)
		default:
			current = lists[name]
		}
		some, err := parseRange(cpus)
		if err != nil {
			return p, fmt.Errorf("%q: %w", item, err)
		}
		*current = append(*current, some...)
	}
	if len(p.Load) == 0 || len(p.Servers) == 0 {
		return p, fmt.Errorf("load and servers both need CPUs, %s", example)
	}
	for _, list := range []*[]int{&p.Load, &p.Servers, &p.Harness} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
		for _, cpu := range *list {
			if !slices.Contains(usable, cpu) {
				return p, fmt.Errorf("CPU %d cannot be used; usable are %s",
					cpu, describeCPUs(usable))
			}
		}
	}
	for _, cpu := range p.Load {
		if slices.Contains(p.Servers, cpu) {
			return p, fmt.Errorf("CPU %d is the load's and the servers': a delay of the load "+
				"would be measured as the servers'; give them different CPUs", cpu)
		}
	}
	return p, nil
}

// parseRange parses a CPU number or range, such as "3" or "0-3".
func parseRange(text string) (cpus []int, err error) {
	first, last, isRange := strings.Cut(text, "-")
	from, err := strconv.Atoi(first)
	to := from
	if err == nil && isRange {
		to, err = strconv.Atoi(last)
	}
	switch {
	case text == "":
		return nil, errors.New("no CPU is named; want a CPU or a range, such as 3 or 0-3")
	case err != nil || from < 0 || to-from >= maxCPUs:
		return nil, fmt.Errorf("%q is not a CPU or a range of them, such as 3 or 0-3", text)
	case to < from:
		return nil, fmt.Errorf("the range ends before it begins; write %d-%d", to, from)
	}
	for cpu := from; cpu <= to; cpu++ {
		cpus = append(cpus, cpu)
	}
	return cpus, nil
}

// maxCPUs is the largest number of CPUs for which Linux can be built (NR_CPUS on x86).
const maxCPUs = 8192

// describeCPUs formats a list of CPUs as the kernel does: 0-3,8.
func describeCPUs(cpus []int) string {
	s := ""
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		if s != "" {
			s += ","
		}
		s += strconv.Itoa(cpus[i])
		if j > i {
			s += "-" + strconv.Itoa(cpus[j])
		}
		i = j + 1
	}
	return s
}

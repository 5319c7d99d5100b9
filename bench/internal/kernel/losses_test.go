package kernel

import (
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

// TestLossTypes checks that the numbers of reasons and tracepoints' arguments are taken from the
// kernel's own types.
func TestLossTypes(t *testing.T) {
	drop := &btf.Enum{Name: "skb_drop_reason", Size: 4, Values: []btf.EnumValue{
		{Name: "SKB_CONSUMED", Value: 1}, {Name: "SKB_DROP_REASON_NO_SOCKET", Value: 77},
	}}
	tracepoint := func(name string, arguments int) btf.Type {
		parameter := []btf.FuncParam{{Type: &btf.Pointer{Target: &btf.Void{}}}}
		return &btf.Typedef{Name: "btf_trace_" + name, Type: &btf.Pointer{Target: &btf.FuncProto{
			Return: &btf.Void{}, Params: slices.Repeat(parameter, arguments+1),
		}}}
	}
	types := lossTypes(t, drop, tracepoint("kfree_skb", 3), tracepoint("tcp_send_reset", 2))
	want := map[uint32]string{1: "skb_consumed", 77: "no_socket"}
	got := reasonNames(types, "skb_drop_reason", "SKB_DROP_REASON_")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if got := reasonNames(types, "sk_rst_reason", ""); len(got) != 0 {
		t.Errorf("got reasons %v of an enum that the kernel lacks", got)
	}
	spec, err := loadLosses()
	if err != nil {
		t.Fatal(err)
	}
	wantMissing := []string{"inet_sock_set_state", "tcp_send_reset"}
	if diff := cmp.Diff(wantMissing, dropMissing(spec, types)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if _, left := spec.Programs[lossesProgSegmentDropped]; !left || len(spec.Programs) != 1 {
		t.Errorf("the remaining programs are %v, want the one at kfree_skb", spec.Programs)
	}
}

// lossTypes returns the type information of a kernel that has only the given types.
func lossTypes(t *testing.T, types ...btf.Type) *btf.Spec {
	t.Helper()
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := builder.Spec()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestLossEventUnnamed(t *testing.T) {
	trace := &LossTrace{reasons: map[LossKind]map[uint32]string{ResetSent: {3: "known"}}}
	for _, test := range []struct {
		raw  lossesEvent
		want string
	}{
		{lossesEvent{Kind: uint8(ResetSent), Reason: 3}, "known"},
		{lossesEvent{Kind: uint8(ResetSent), Reason: 4}, "reason_4"},
		{lossesEvent{Kind: uint8(SegmentDropped), Reason: 3}, "reason_3"},
		{lossesEvent{Kind: uint8(ListenerClosed)}, ""},
	} {
		if got := trace.event(&test.raw).Reason; got != test.want {
			t.Errorf("%v %d: got %q, want %q",
				LossKind(test.raw.Kind), test.raw.Reason, got, test.want)
		}
	}
}

package jsonfile

import (
	"math/bits"
	"reflect"
)

// Memory estimates the bytes that a decoded value occupies, including everything that it points to.
func Memory(v any) int64 {
	m := memory{map[reflect.Type]bool{}}
	value := reflect.ValueOf(v)
	return int64(value.Type().Size()) + m.beyond(value)
}

// A memory remembers which types contain no pointers.
type memory struct{ flat map[reflect.Type]bool }

// capacity returns the average capacity of a slice to which n elements were appended one by one.
// The capacity doubles up to 256 elements. Beyond, each step adds a quarter, of which half is
// unused on average.
func capacity(n int64) int64 {
	const threshold = 256
	switch {
	case n == 0:
		return 0
	case n > threshold:
		return n + n/8
	}
	return 1 << bits.Len64(uint64(n-1))
}

// sizeOfMap returns the size of a map with n entries, where the key and element of an entry take
// entry bytes. A map has a head, and groups of eight entries, each with a control byte. Groups are
// at most 7/8 full. If there are several, they are half as full just after the map has grown
// (internal/runtime/maps).
func sizeOfMap(n, entry int64) int64 {
	const head, group = 48, 8
	switch {
	case n == 0:
		return head
	case n <= group:
		return head + group*(entry+1)
	}
	return head + n*(entry+1)*3/2
}

// beyond returns the size of everything that a value points to.
func (m memory) beyond(v reflect.Value) (n int64) {
	switch v.Kind() {
	case reflect.String:
		return (int64(v.Len()) + 15) &^ 15 // most size classes of small objects are 16 bytes apart
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return int64(v.Elem().Type().Size()) + m.beyond(v.Elem())
	case reflect.Slice:
		n = capacity(int64(v.Len())) * int64(v.Type().Elem().Size())
		if m.isFlat(v.Type().Elem()) {
			return n
		}
		for i := range v.Len() {
			n += m.beyond(v.Index(i))
		}
	case reflect.Map:
		n = sizeOfMap(int64(v.Len()), int64(v.Type().Key().Size()+v.Type().Elem().Size()))
		for entry := v.MapRange(); entry.Next(); {
			n += m.beyond(entry.Key()) + m.beyond(entry.Value())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += m.beyond(v.Field(i))
		}
	}
	return n
}

// isFlat reports whether values of a type contain no pointers.
func (m memory) isFlat(t reflect.Type) bool {
	flat, known := m.flat[t]
	if known {
		return flat
	}
	switch t.Kind() {
	case reflect.String, reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
	case reflect.Struct:
		flat = true
		for i := range t.NumField() {
			flat = flat && m.isFlat(t.Field(i).Type)
		}
	default:
		flat = true
	}
	m.flat[t] = flat
	return flat
}

// Values between a Go judge and a Go candidate, which are two processes: descriptor 3 is read, descriptor 4 written.
package @PACKAGE@

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
)

const codeftClosed = 70 // CLOSED in grading.py
const codeftLongest = 1 << 28

var codeftIn = bufio.NewReader(os.NewFile(3, "incoming"))
var codeftOut = bufio.NewWriter(os.NewFile(4, "outgoing"))

var codeftKinds = map[string]reflect.Type{}

func init() {
	for _, value := range []interface{}{
		false, 0, int8(0), int16(0), int32(0), int64(0), uint(0), uint8(0), uint16(0), uint32(0), uint64(0),
		float32(0), 0.0, "", []int{}, []string{}, []float64{}, []bool{}, []interface{}{}, [][]int{}, [][]string{},
		[][]interface{}{}, map[string]int{}, map[string]string{}, map[int]int{}, map[string]interface{}{},
	} {
		codeftKinds[reflect.TypeOf(value).String()] = reflect.TypeOf(value)
	}
}

func codeftCall[Result any](arguments ...interface{}) Result {
	codeftWriteNumber(uint64(len(arguments)))
	for _, argument := range arguments {
		codeftWrite(reflect.ValueOf(argument).Elem())
	}
	codeftOut.Flush()
	var result Result
	codeftRead(reflect.ValueOf(&result).Elem())
	fmt.Fprint(os.Stderr, "\x06") // ANSWERED in grading.py
	return result
}

func codeftServe(function interface{}) {
	kind := reflect.TypeOf(function)
	for {
		if _, err := codeftIn.Peek(1); err != nil {
			return
		}
		arguments := make([]reflect.Value, codeftReadNumber())
		for i := range arguments {
			arguments[i] = reflect.New(kind.In(i)).Elem()
			codeftRead(arguments[i])
		}
		codeftWrite(reflect.ValueOf(function).Call(arguments)[0])
		codeftOut.Flush()
	}
}

func codeftWriteNumber(number uint64) {
	binary.Write(codeftOut, binary.LittleEndian, number)
}

func codeftReadNumber() uint64 {
	var bytes [8]byte
	if _, err := io.ReadFull(codeftIn, bytes[:]); err != nil {
		os.Exit(codeftClosed)
	}
	return binary.LittleEndian.Uint64(bytes[:])
}

func codeftWriteText(text string) {
	codeftWriteNumber(uint64(len(text)))
	codeftOut.WriteString(text)
}

func codeftReadText() string {
	size := codeftReadNumber()
	if size > codeftLongest {
		os.Exit(codeftClosed)
	}
	bytes := make([]byte, size)
	if _, err := io.ReadFull(codeftIn, bytes); err != nil {
		os.Exit(codeftClosed)
	}
	return string(bytes)
}

func codeftWrite(value reflect.Value) {
	switch value.Kind() {
	case reflect.Bool:
		if value.Bool() {
			codeftWriteNumber(1)
		} else {
			codeftWriteNumber(0)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		codeftWriteNumber(uint64(value.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		codeftWriteNumber(value.Uint())
	case reflect.Float32, reflect.Float64:
		codeftWriteNumber(math.Float64bits(value.Float()))
	case reflect.String:
		codeftWriteText(value.String())
	case reflect.Slice:
		codeftWriteNumber(uint64(value.Len()))
		for i := 0; i < value.Len(); i++ {
			codeftWrite(value.Index(i))
		}
	case reflect.Map:
		codeftWriteNumber(uint64(value.Len()))
		for _, key := range value.MapKeys() {
			codeftWrite(key)
			codeftWrite(value.MapIndex(key))
		}
	case reflect.Interface:
		codeftWriteInterface(value)
	default:
		panic("no way to send a " + value.Type().String())
	}
}

func codeftWriteInterface(value reflect.Value) {
	if value.IsNil() {
		codeftWriteText("nil")
		return
	}
	kind := value.Elem().Type().String()
	if _, isKnown := codeftKinds[kind]; isKnown {
		codeftWriteText(kind)
		codeftWrite(value.Elem())
		return
	}
	codeftWriteText("string")
	codeftWriteText(fmt.Sprintf("%v", value.Interface()))
}

func codeftRead(value reflect.Value) {
	switch value.Kind() {
	case reflect.Bool:
		value.SetBool(codeftReadNumber() == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		value.SetInt(int64(codeftReadNumber()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		value.SetUint(codeftReadNumber())
	case reflect.Float32, reflect.Float64:
		value.SetFloat(math.Float64frombits(codeftReadNumber()))
	case reflect.String:
		value.SetString(codeftReadText())
	case reflect.Slice:
		for rest := codeftReadNumber(); rest > 0; rest-- {
			item := reflect.New(value.Type().Elem()).Elem()
			codeftRead(item)
			value.Set(reflect.Append(value, item))
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		for rest := codeftReadNumber(); rest > 0; rest-- {
			key, item := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
			codeftRead(key)
			codeftRead(item)
			value.SetMapIndex(key, item)
		}
	case reflect.Interface:
		if kind, isKnown := codeftKinds[codeftReadText()]; isKnown {
			item := reflect.New(kind).Elem()
			codeftRead(item)
			value.Set(item)
		}
	default:
		panic("no way to receive a " + value.Type().String())
	}
}

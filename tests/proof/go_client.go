// Stands in for a gateway written in Go: types without JSON tags, errors in interface fields, a map as the envelope.
// go_client [URL] writes the encoded batch to standard output; with a URL it also posts it there, chunked, and writes the
// status and the body of the answer.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

type answer struct {
	Model       string
	Answer      string
	Latency     int64
	Error       error
	RawResponse map[string]interface{}
}

type point struct {
	Question       string
	Responses      map[string]*answer
	Scores         map[string]float64
	Timestamp      int64
	Classification *struct{}
}

type timedPoint struct {
	Question  string
	Responses map[string]*answer
	Scores    map[string]float64
	Timestamp time.Time
}

func batch() map[string]interface{} {
	refused := &url.Error{Op: "Post", URL: "http://127.0.0.1:1/v1", Err: &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: errors.New("refused")}}
	good := map[string]*answer{"big": {Model: "big", Answer: "yes", Latency: 7}}
	at := time.Date(2026, 1, 1, 7, 30, 0, 0, time.FixedZone("", 8*3600))
	return map[string]interface{}{
		"data_points": []interface{}{
			&point{
				Question: "is a<b && b>c?\u2028in \"Go\"\xff 求解",
				Responses: map[string]*answer{
					"big": {Model: "big", Answer: "<b>yes</b>\n", Latency: 812, RawResponse: map[string]interface{}{
						"id": uint64(1<<63 + 1), "n": 1e21, "nothing": nil}},
					"code": {Model: "code", Latency: 3, Error: errors.New("status 500")},
					"math": {Model: "math", Latency: 3, Error: refused},
				},
				Scores:    map[string]float64{"big": 0.30000000000000004, "code": -1, "math": -1},
				Timestamp: 1767225600,
			},
			&point{Question: "nil maps", Responses: good, Timestamp: 1767225601},
			&point{Question: "nobody was asked", Timestamp: 1767225602},
			&point{Question: "a nil response", Responses: map[string]*answer{"big": good["big"], "math": nil},
				Scores: map[string]float64{"big": 1}, Timestamp: 1767225603},
			(*point)(nil),
			&timedPoint{Question: "another zone", Responses: good, Scores: map[string]float64{"big": 1e-7}, Timestamp: at},
			&timedPoint{Question: "no time", Responses: good, Scores: map[string]float64{"big": 1}},
		},
		"count":     7,
		"timestamp": 1767225604,
	}
}

func main() {
	if err := json.NewEncoder(os.Stdout).Encode(batch()); err != nil {
		panic(err)
	}
	if len(os.Args) < 2 {
		return
	}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(json.NewEncoder(writer).Encode(batch())) }()
	response, err := http.Post(os.Args[1], "application/json", reader)
	if err != nil {
		panic(err)
	}
	body, _ := io.ReadAll(response.Body)
	fmt.Printf("%d %s", response.StatusCode, body)
}

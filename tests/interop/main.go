// The services of interop.proto in Go, by hand, and who calls those in C; interop.c is its counterpart.
//
//	PROGRAM serve PORT                 its services, and GoCaller, for a server
//	PROGRAM client INGRESS ENCODING    calls C's services as a client, ENCODING is Json or Proto
//	PROGRAM texts INGRESS FILE         whether both reply the same JSON: to Give of each case, and to
//	                                   Echo of each line of the file, which begins with the status
//
// The cases are the files in cases/. What is wrong is told in words; of a case that is right only
// "NAME: ok" is.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"interop/pb"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/encoding"
	"github.com/restatedev/sdk-go/ingress"
	"github.com/restatedev/sdk-go/server"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// ---- Messages -----------------------------------------------------------------------------------

//go:embed cases/*.txt
var files embed.FS

func messageOf(name string) (*pb.All, error) {
	text, err := files.ReadFile("cases/" + name + ".txt")
	if err != nil {
		return nil, restate.ToTerminalError(fmt.Errorf("no case '%s'", name), restate.WithErrorCode(404))
	}
	all := &pb.All{}
	return all, prototext.Unmarshal(text, all)
}

func names() (all []string) {
	entries, err := files.ReadDir("cases")
	if err != nil {
		panic(err)
	}
	for _, entry := range entries {
		all = append(all, strings.TrimSuffix(entry.Name(), ".txt"))
	}
	return all
}

// Empty: nothing; else a sentence.
func differs(what string, got, wanted *pb.All) string {
	if proto.Equal(got, wanted) {
		return ""
	}
	return fmt.Sprintf("%s: Go has {%v}, but should have {%v}", what, got, wanted)
}

// ---- Encodings ----------------------------------------------------------------------------------

// The SDK's own, by what the names of services end with.
var codecs = map[string]encoding.Codec{
	"Json":  encoding.ProtoJSONCodec,
	"Proto": encoding.ProtoCodec,
}

// ProtoCodec writes the entries of a map in any order, and does not say so: a handler that calls with
// two entries fails when it is replayed. This says so.
type unordered struct {
	encoding.Codec
	encoding.CodecMetadata
}

func (unordered) IsNonDeterministic() bool { return true }

func requests(form string) encoding.Codec {
	return unordered{codecs[form], codecs[form].(encoding.CodecMetadata)}
}

// The SDK decodes to what it allocates itself; this decodes to a message that there is already.
type into struct {
	encoding.Codec
	out proto.Message
}

func (c into) Unmarshal(data []byte, _ any) error { return c.Codec.Unmarshal(data, c.out) }

// ---- Services -----------------------------------------------------------------------------------

func echo(ctx restate.Context, in *pb.All) (*pb.All, error)               { return in, nil }
func give(ctx restate.Context, in *pb.Name) (*pb.All, error)              { return messageOf(in.Name) }
func ping(ctx restate.Context, in *emptypb.Empty) (*emptypb.Empty, error) { return in, nil }

func take(ctx restate.Context, in *pb.Named) (*pb.Verdict, error) {
	all, err := messageOf(in.Name)
	if err != nil {
		return nil, err
	}
	return &pb.Verdict{Differs: differs("taken", in.All, all)}, nil
}

func refuse(ctx restate.Context, in *pb.Name) (*emptypb.Empty, error) {
	return nil, restate.ToTerminalError(fmt.Errorf("no \"%s\" here", in.Name), restate.WithErrorCode(422))
}

func services(form string) []restate.ServiceDefinition {
	codec := restate.WithCodec(codecs[form])
	put := func(ctx restate.ObjectContext, in *pb.All) (*emptypb.Empty, error) {
		restate.Set(ctx, "all", in, codec)
		return &emptypb.Empty{}, nil
	}
	get := func(ctx restate.ObjectSharedContext, _ *emptypb.Empty) (*pb.All, error) {
		return restate.Get[*pb.All](ctx, "all", codec)
	}
	run := func(ctx restate.WorkflowContext, in *pb.All) (*pb.All, error) {
		_, err := restate.Promise[bool](ctx, "released").Result()
		return in, err
	}
	release := func(ctx restate.WorkflowSharedContext, in *emptypb.Empty) (*emptypb.Empty, error) {
		return in, restate.Promise[bool](ctx, "released").Resolve(true)
	}
	return []restate.ServiceDefinition{
		restate.NewService("interop.v1.Go"+form, codec).
			Handler("Echo", restate.NewServiceHandler(echo)).
			Handler("Give", restate.NewServiceHandler(give)).
			Handler("Take", restate.NewServiceHandler(take)).
			Handler("Ping", restate.NewServiceHandler(ping)).
			Handler("Refuse", restate.NewServiceHandler(refuse)),
		restate.NewObject("interop.v1.GoStore"+form, codec).
			Handler("Put", restate.NewObjectHandler(put)).
			Handler("Get", restate.NewObjectSharedHandler(get)),
		restate.NewWorkflow("interop.v1.GoFlow"+form, codec).
			Handler("Run", restate.NewWorkflowHandler(run)).
			Handler("Release", restate.NewWorkflowSharedHandler(release)),
	}
}

// ---- Calls --------------------------------------------------------------------------------------

// What C's services are called by: a handler, or a client of the ingress.
type peer interface {
	call(service, key, handler string, in, out proto.Message) error
	// Two calls of Echo at a time, the second one's reply first.
	twice(in *pb.All) (second, first *pb.All, err error)
	// Starts the workflow, releases it, and gives the result that an attach has.
	flow(key string, in *pb.All) (*pb.All, error)
}

type fromHandler struct {
	ctx  restate.Context
	form string
}

func (p fromHandler) codec() restate.ClientOption { return restate.WithCodec(requests(p.form)) }

func (p fromHandler) call(service, key, handler string, in, out proto.Message) error {
	name := "interop.v1.C" + service + p.form
	codec, reply := p.codec(), restate.WithOutputCodec(into{codecs[p.form], out})
	var client restate.Client[any, any]
	switch service {
	case "Flow":
		client = restate.Workflow[any](p.ctx, name, key, handler, codec, reply)
	case "Store":
		client = restate.Object[any](p.ctx, name, key, handler, codec, reply)
	default:
		client = restate.Service[any](p.ctx, name, handler, codec, reply)
	}
	if _, err := client.Request(in); err != nil {
		return err
	}
	return nil
}

func (p fromHandler) twice(in *pb.All) (*pb.All, *pb.All, error) {
	client := restate.Service[*pb.All](p.ctx, "interop.v1.C"+p.form, "Echo", p.codec())
	one, two := client.RequestFuture(in), client.RequestFuture(in)
	second, err := two.Response()
	if err != nil {
		return nil, nil, err
	}
	first, err := one.Response()
	if err != nil {
		return nil, nil, err
	}
	return second, first, nil
}

func (p fromHandler) flow(key string, in *pb.All) (*pb.All, error) {
	sent := restate.WorkflowSend(p.ctx, "interop.v1.CFlow"+p.form, key, "Run", p.codec()).Send(in)
	if err := p.call("Flow", key, "Release", &emptypb.Empty{}, &emptypb.Empty{}); err != nil {
		return nil, err
	}
	out, err := restate.AttachInvocation[*pb.All](p.ctx, sent.GetInvocationId(), restate.WithCodec(codecs[p.form])).Response()
	if err != nil {
		return nil, err
	}
	return out, nil
}

type fromClient struct {
	client *ingress.Client
	form   string
}

func (p fromClient) call(service, key, handler string, in, out proto.Message) error {
	name := "interop.v1.C" + service + p.form
	client := ingress.Service[any, any](p.client, name, handler)
	if key != "" {
		client = ingress.Object[any, any](p.client, name, key, handler)
	}
	_, err := client.Request(context.Background(), in, restate.WithInputCodec(codecs[p.form]), restate.WithOutputCodec(into{codecs[p.form], out}))
	return err
}

func (p fromClient) twice(in *pb.All) (second, first *pb.All, err error) {
	first, second = &pb.All{}, &pb.All{}
	done := make(chan error)
	for _, out := range []*pb.All{first, second} {
		go func() { done <- p.call("", "", "Echo", in, out) }()
	}
	return second, first, errors.Join(<-done, <-done)
}

func (p fromClient) flow(key string, in *pb.All) (*pb.All, error) {
	ctx := context.Background()
	name := "interop.v1.CFlow" + p.form
	codec := restate.WithCodec(codecs[p.form])
	_, err := ingress.WorkflowSend[*pb.All](p.client, name, key, "Run").Send(ctx, in, codec)
	if err != nil {
		return nil, err
	}
	if err := p.call("Flow", key, "Release", &emptypb.Empty{}, &emptypb.Empty{}); err != nil {
		return nil, err
	}
	return ingress.WorkflowHandle[*pb.All](p.client, name, key, codec).Attach(ctx)
}

// A failure of a call, and one of a request, alike.
type failure interface {
	Code() restate.Code
	Message() string
}

func failed(err error) string {
	var f failure
	if !errors.As(err, &f) {
		return fmt.Sprint(err)
	}
	return fmt.Sprintf("%d %s", f.Code(), f.Message())
}

// All of one case; empty: nothing differs.
func check(p peer, name, key string) (why string, err error) {
	all, err := messageOf(name)
	if err != nil {
		return "", err
	}
	compare := func(what string, got *pb.All) {
		if why == "" {
			why = differs(what, got, all)
		}
	}
	calls := []struct {
		service, key, handler string
		in                    proto.Message
		compared              bool
	}{
		{"", "", "Echo", all, true},
		{"", "", "Give", &pb.Name{Name: name}, true},
		{"Store", key, "Put", all, false},
		{"Store", key, "Get", &emptypb.Empty{}, true},
		{"", "", "Ping", &emptypb.Empty{}, false},
	}
	for _, c := range calls {
		var out proto.Message = &emptypb.Empty{}
		if c.compared {
			out = &pb.All{}
		}
		if err := p.call(c.service, c.key, c.handler, c.in, out); err != nil {
			return "", fmt.Errorf("%s%s: %s", c.service, c.handler, failed(err))
		}
		if c.compared {
			compare(c.service+c.handler, out.(*pb.All))
		}
	}
	verdict := &pb.Verdict{}
	if err := p.call("", "", "Take", &pb.Named{Name: name, All: all}, verdict); err != nil {
		return "", fmt.Errorf("Take: %s", failed(err))
	}
	if why == "" {
		why = verdict.Differs
	}
	second, first, err := p.twice(all)
	if err != nil {
		return "", fmt.Errorf("Echo, twice: %s", failed(err))
	}
	compare("the second Echo of two", second)
	compare("the first Echo of two", first)
	result, err := p.flow(key, all)
	if err != nil {
		return "", fmt.Errorf("Run: %s", failed(err))
	}
	compare("Run", result)
	refused := p.call("", "", "Refuse", &pb.Name{Name: name}, &emptypb.Empty{})
	if wanted := fmt.Sprintf("422 no \"%s\" here", name); why == "" && failed(refused) != wanted {
		why = fmt.Sprintf("Refuse failed with %s", failed(refused))
	}
	return why, nil
}

// ---- GoCaller/Json and /Proto: the name of a case -> "ok", or what differs ----------------------

func caller(form string) restate.ServiceHandlerFn[string, string] {
	return func(ctx restate.Context, name string) (string, error) {
		why, err := check(fromHandler{ctx, form}, name, restate.UUID(ctx).String())
		if err != nil {
			return "", err
		}
		if why == "" {
			why = "ok"
		}
		return why, nil
	}
}

func serve(port string) error {
	s := server.NewRestate().WithLogger(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}), true).
		Bind(restate.NewService("GoCaller").
			Handler("Json", restate.NewServiceHandler(caller("Json"))).
			Handler("Proto", restate.NewServiceHandler(caller("Proto"))))
	for form := range codecs {
		for _, service := range services(form) {
			s = s.Bind(service)
		}
	}
	return s.Start(context.Background(), "127.0.0.1:"+port)
}

func client(address, form string) error {
	for _, name := range names() {
		p := fromClient{ingress.NewClient(address), form}
		why, err := check(p, name, name+strconv.FormatInt(time.Now().UnixNano(), 10))
		if err != nil {
			why = err.Error()
		}
		report(name, why)
	}
	return nil
}

func report(name, why string) {
	if why == "" {
		why = "ok"
	}
	fmt.Printf("%s: %s\n", name, why)
}

// ---- JSON ---------------------------------------------------------------------------------------

// What the service of one language replies, as a tree; a failure is its code.
func post(address, service string, body string) (v any, err error) {
	reply, err := http.Post(address+"/interop.v1."+service, "application/json", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != 200 {
		return reply.StatusCode, nil
	}
	err = json.NewDecoder(reply.Body).Decode(&v)
	// A float may be written with more digits than it takes.
	if all, ok := v.(map[string]any); ok {
		if single, ok := all["single"].(float64); ok {
			all["single"] = float32(single)
		}
	}
	return v, err
}

// Empty: both reply the same.
func alike(address, handler, body, wanted string) string {
	c, err := post(address, "CJson/"+handler, body)
	if err != nil {
		return err.Error()
	}
	g, err := post(address, "GoJson/"+handler, body)
	switch code, failed := g.(int); {
	case err != nil:
		return err.Error()
	case !reflect.DeepEqual(c, g):
		return fmt.Sprintf("C has %v, Go has %v", c, g)
	case wanted == "200" && failed || wanted != "200" && strconv.Itoa(code) != wanted:
		return fmt.Sprintf("both reply %v", c)
	}
	return ""
}

func texts(address, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, name := range names() {
		report(name, alike(address, "Give", fmt.Sprintf("{\"name\": \"%s\"}", name), "200"))
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		wanted, body, _ := strings.Cut(line, " ")
		report(body, alike(address, "Echo", body, wanted))
	}
	return nil
}

func main() {
	err := errors.New("usage: serve PORT | client INGRESS Json|Proto | texts INGRESS FILE")
	args := os.Args[1:]
	switch {
	case len(args) == 2 && args[0] == "serve":
		err = serve(args[1])
	case len(args) == 3 && args[0] == "client":
		err = client(args[1], args[2])
	case len(args) == 3 && args[0] == "texts":
		err = texts(args[1], args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

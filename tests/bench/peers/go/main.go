// The handlers of ../../endpoint.c on the Go SDK.
package main

import (
	"context"
	"log"
	"log/slog"
	"os"
	"time"

	restate "github.com/restatedev/sdk-go"
	"github.com/restatedev/sdk-go/server"
)

func greet(ctx restate.Context, name string) (string, error) {
	return "Hello " + name + "!", nil
}

func replay(ctx restate.Context, steps int) (int, error) {
	sum := 0
	for i := 0; i < steps; i++ {
		one, err := restate.Run(ctx, func(ctx restate.RunContext) (int, error) { return 1, nil },
			restate.WithName("step"))
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

func sleep(ctx restate.Context, millis int) (int, error) {
	return millis, restate.Sleep(ctx, time.Duration(millis)*time.Millisecond)
}

func echo(ctx restate.Context, value string) (string, error) {
	return value, nil
}

func add(ctx restate.ObjectContext, step int) (int, error) {
	count, err := restate.Get[int](ctx, "count")
	if err != nil {
		return 0, err
	}
	restate.Set(ctx, "count", count+step)
	return count + step, nil
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "9080"
	}
	bench := restate.NewService("Bench").
		Handler("greet", restate.NewServiceHandler(greet)).
		Handler("replay", restate.NewServiceHandler(replay)).
		Handler("sleep", restate.NewServiceHandler(sleep)).
		Handler("echo", restate.NewServiceHandler(echo))
	counter := restate.NewObject("BenchCounter").
		Handler("add", restate.NewObjectHandler(add))
	// Like the others' defaults: nothing is logged about an invocation that goes well.
	warnings := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})
	log.Fatal(server.NewRestate().WithLogger(warnings, true).Bind(bench).Bind(counter).
		Start(context.Background(), "127.0.0.1:"+port))
}

// The handlers of ../../endpoint.c on the TypeScript SDK.
import * as restate from "@restatedev/restate-sdk";

const bench = restate.service({
  name: "Bench",
  handlers: {
    greet: async (ctx, name) => `Hello ${name}!`,
    replay: async (ctx, steps) => {
      let sum = 0;
      for (let i = 0; i < steps; i++) sum += await ctx.run("step", () => 1);
      return sum;
    },
    sleep: async (ctx, millis) => {
      await ctx.sleep(millis);
      return millis;
    },
    echo: async (ctx, value) => value,
  },
});

const counter = restate.object({
  name: "BenchCounter",
  handlers: {
    add: async (ctx, step) => {
      const sum = ((await ctx.get("count")) ?? 0) + step;
      ctx.set("count", sum);
      return sum;
    },
  },
});

restate.serve({ services: [bench, counter], port: Number(process.env.PORT ?? 9080) });

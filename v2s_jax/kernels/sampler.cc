// The cpu engine: one call runs whole big frames of a batch of clips.
//
// These are the tiers of v2s_jax.model (three tiers of one GRU layer, the `paper` MLP) with weight
// norm and embeddings folded. Threads work in teams, each on its own clips. Within a team each
// thread owns groups of 64 columns of every product, so its share of the weights stays in the cache
// of its core; after each product the team waits at a barrier.

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "lanes.h"
#include "tiles.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace v2s {

struct Sizes {
  int all_rows;             // of the batch
  int rows;                 // of one team
  int big, frame, ratio, dim, mlp, levels, known_levels, per_frame, per_vector;
};

struct Product {
  const uint8_t* weights;
  const float* scales;     // one per column; int8 only
  const int32_t* totals;   // sum of each column's integers; int8 only
  const float* bias;       // one per column
};

struct Weights {
  const float *big_input, *big_candidate_bias;      // [big 3*dim], [dim]
  const float *frame_input, *frame_candidate_bias;  // [frame 3*dim], [dim]
  const float* tables;                              // [frame levels mlp]
  Product big_recurrent, big_up, frame_conditioning, frame_recurrent, frame_up, hidden, output;
};

struct Inputs {
  const float *big_state, *frame_state;  // [all_rows dim]
  const int32_t* lookback;               // [all_rows big]
  const float* gates;                    // [vectors all_rows 3*dim]
  const float* noise;                    // [video_frames all_rows per_frame*big]
  const int32_t* forced;                 // [samples all_rows], or null: levels are then drawn
  float temperature;
  int ticks, offset;
};

struct Outputs {
  float *big_state, *frame_state;
  int32_t* lookback;
  uint8_t* levels;  // [samples all_rows]
  float* nll;       // [samples all_rows]
  float* logits;    // [samples all_rows levels], or null
};

class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}

  void arrive_and_wait() { wait(arrive()); }

  // Say that this thread is done; returns what to wait for.
  int arrive() {
    if (threads_ == 1) return -1;
    const int round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
    }
    return round;
  }

  void wait(int round) {
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins > kSpins) sched_yield();  // the machine is busy: let the other thread run
#if defined(__x86_64__)
      else __builtin_ia32_pause();
#endif
    }
  }

 private:
  static constexpr int kSpins = 300;
  const int threads_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> round_{0};
};

struct Buffer {  // floats aligned to a cache line
  explicit Buffer(size_t size) : storage(size + 16, 0.0f) {
    const auto address = reinterpret_cast<uintptr_t>(storage.data());
    data = storage.data() + ((64 - address % 64) % 64) / sizeof(float);
  }
  std::vector<float> storage;
  float* data;
};

// What the threads of a team share.
struct Shared {
  Shared(const Sizes& s, int threads)
      : barrier(threads),
        big_state{Buffer(s.rows * s.dim), Buffer(s.rows * s.dim)},
        frame_state{Buffer(s.rows * s.dim), Buffer(s.rows * s.dim)},
        conditioning(s.rows * s.ratio * s.dim),
        conditioning_gates(s.rows * s.ratio * 3 * s.dim),
        recurrent(s.rows * 3 * s.dim),
        upsampled(s.rows * s.frame * s.mlp),
        hidden(s.rows * s.mlp),
        logits(s.rows * s.levels),
        drawn(s.rows) {}

  Barrier barrier;
  Buffer big_state[2], frame_state[2];  // before and after a tick
  Buffer conditioning, conditioning_gates, recurrent, upsampled, hidden, logits;
  std::vector<int32_t> drawn;
};

struct Span {
  int begin, end;
};

Span part_of(int count, int part, int parts) {
  return {count * part / parts, count * (part + 1) / parts};
}

template <typename Format>
class Worker {
 public:
  Worker(const Sizes& s, const Weights& w, const Inputs& in, const Outputs& out, Shared& shared,
         int first_row, int thread, int threads)
      : s_(s), w_(w), in_(in), out_(out), shared_(shared), first_row_(first_row), thread_(thread),
        threads_(threads), window_(s.rows * s.big), older_(s.rows * s.mlp), x_(s.rows * s.mlp),
        prepared_(size_t(s.rows) * s.ratio * Format::row_bytes(std::max(s.dim, s.mlp)) / 4 + 16),
        scales_(s.rows * s.ratio) {
    std::copy_n(in.lookback + size_t(first_row) * s.big, s.rows * s.big, window_.data());
  }

  void run() {
    sum_older_levels(0);
    for (int tick = 0; tick < in_.ticks; ++tick) {
      const int place = in_.offset + tick;
      const size_t gates_row = size_t(place / s_.per_vector) * s_.all_rows + first_row_;
      run_big_frame(in_.gates + gates_row * 3 * s_.dim);
      for (int frame = 0; frame < s_.ratio; ++frame) {
        run_frame(frame);
        for (int i = 0; i < s_.frame; ++i) sample(tick, place, frame, i);
      }
    }
    if (thread_ == 0) {
      const size_t first = first_row_;
      std::copy_n(window_.data(), window_.size(), out_.lookback + first * s_.big);
      const int size = s_.rows * s_.dim;
      std::copy_n(shared_.big_state[big_now_].data, size, out_.big_state + first * s_.dim);
      std::copy_n(shared_.frame_state[frame_now_].data, size, out_.frame_state + first * s_.dim);
    }
  }

  // Multiply this thread's groups of one product `turns` times, without barriers: the ceiling.
  void multiply_only(const Product& p, int groups, int turns, float* to) {
    prepare(x_.data, s_.rows, s_.dim);
    const Span mine = share(groups);
    Floats sum = {};
    for (int turn = 0; turn < turns; ++turn)
      for (int group = mine.begin; group < mine.end; ++group)
        multiply(p, s_.rows, s_.dim, group, [&](int, int, Floats y) { sum += y; });
    store(to + thread_ * kLanes, sum);
  }

 private:
  Span share(int count) const { return part_of(count, thread_, threads_); }

  float amplitude(int row, int place) const {  // tiers.tier_input
    const float half = s_.known_levels / 2.0f;
    return 2.0f * ((window_[row * s_.big + place] - s_.known_levels / 2) / half);
  }

  void prepare(const float* x, int rows, int width) {
    uint8_t* to = reinterpret_cast<uint8_t*>(prepared_.data);
    const int bytes = Format::row_bytes(width);
    for (int row = 0; row < rows; ++row)
      scales_[row] = Format::prepare(x + size_t(row) * width, width, to + size_t(row) * bytes);
  }

  // The product of R prepared rows with one group of 64 columns.
  template <int R, typename Take>
  void group_of(const Product& p, int row, int width, int group, Take take) {
    const uint8_t* x = reinterpret_cast<const uint8_t*>(prepared_.data);
    const int bytes = Format::row_bytes(width), steps = width / Format::kPer;
    for (int first = 0; first < kVectors; first += kAtOnce) {
      const uint8_t* weights =
          p.weights + size_t(group) * steps * kStepBytes + first * kVectorBytes;
      typename Format::Sum sums[R][kAtOnce][Format::kSums] = {};
      for (int step = 0; step < steps; ++step, weights += kStepBytes) {
        __builtin_prefetch(weights + 4096);
        unrolled<kAtOnce * R>([&](auto i) {
          constexpr int v = i / R, r = i % R;
          Format::add(sums[r][v], x + size_t(row + r) * bytes, width, step,
                      weights + v * kVectorBytes);
        });
      }
      unrolled<R * kAtOnce>([&](auto i) {
        constexpr int r = i / kAtOnce, v = i % kAtOnce;
        const int column = group * kGroup + (first + v) * kLanes;
        const Floats y = Format::finish(sums[r][v], scales_[row + r], p.scales + column,
                                        p.totals + column);
        take(row + r, column, y + load<Floats>(p.bias + column));
      });
    }
  }

  // The same for rows `row` to `rows` - 1 of int8, with AMX.
  template <typename Take>
  void group_of_tiles(const Product& p, int row, int rows, int width, int group, Take take) {
    const uint8_t* weights = p.weights + size_t(group) * width * kGroup;
    const int bytes = Format::row_bytes(width);
    alignas(64) int32_t sums[2][2][kTileRows][kLanes];  // two vectors, high and low
    for (; row < rows; row += kTileRows) {
      const int count = std::min(rows - row, kTileRows);
      if (count != tile_rows_) configure_tiles(tile_rows_ = count);
      const uint8_t* x = reinterpret_cast<const uint8_t*>(prepared_.data) + size_t(row) * bytes;
      for (int v = 0; v < kVectors; v += 2) {
        multiply_tiles(x, x + width, bytes, width, weights + v * kVectorBytes, sums);
        for (int r = 0; r < count; ++r)
          for (int i = 0; i < 2; ++i) {
            const int column = group * kGroup + (v + i) * kLanes;
            const Ints both[2] = {load<Ints>(sums[i][0][r]), load<Ints>(sums[i][1][r])};
            const Floats y = Int8::finish(both, scales_[row + r], p.scales + column,
                                          p.totals + column);
            take(row + r, column, y + load<Floats>(p.bias + column));
          }
      }
    }
  }

  // All rows from `row` on with one group of columns: as many at once as have room for their sums
  // in the registers, then the rest at once.
  template <int R = std::max(1, kSumRegisters / kAtOnce / Format::kSums), typename Take>
  void multiply(const Product& p, int rows, int width, int group, Take take, int row = 0) {
    if constexpr (std::is_same_v<Format, Int8>)
      if (rows - row >= kLeastTileRows && have_tiles())
        return group_of_tiles(p, row, rows, width, group, take);
    for (; row + R <= rows; row += R) group_of<R>(p, row, width, group, take);
    if constexpr (R > 1) multiply<R - 1>(p, rows, width, group, take, row);
  }

  // This thread's columns of a product, into a row-major array.
  void product(const Product& p, int rows, int width, int columns, float* to, bool positive) {
    const Span mine = share(columns / kGroup);
    for (int group = mine.begin; group < mine.end; ++group)
      multiply(p, rows, width, group, [=](int row, int column, Floats y) {
        store(to + size_t(row) * columns + column, positive ? relu(y) : y);
      });
  }

  // This thread's units: the columns of each gate that belong to them.
  template <typename Take>
  void gate_product(const Product& p, int rows, Take take) {
    const int per_gate = s_.dim / kGroup;
    const Span mine = share(per_gate);
    for (int gate = 0; gate < 3; ++gate)
      for (int group = mine.begin; group < mine.end; ++group)
        multiply(p, rows, s_.dim, gate * per_gate + group, take);
  }

  // A tick of a GRU for this thread's units: rnn.GRU.step.
  void step(const float* before, float* after, const Product& recurrent, const float* candidate_bias,
            const float* input, int first, int size, const float* gates, size_t gates_row) {
    const int dim = s_.dim;
    float* product = shared_.recurrent.data;
    prepare(before, s_.rows, dim);
    gate_product(recurrent, s_.rows, [=](int row, int column, Floats y) {
      store(product + size_t(row) * 3 * dim + column, y);
    });
    const Span mine = share(dim / kGroup);
    for (int row = 0; row < s_.rows; ++row)
      for (int unit = mine.begin * kGroup; unit < mine.end * kGroup; unit += kLanes) {
        Floats g[3], u[3];
        for (int gate = 0; gate < 3; ++gate) {
          const int column = gate * dim + unit;
          g[gate] = load<Floats>(gates + row * gates_row + column);
          for (int i = 0; i < size; ++i)
            g[gate] += amplitude(row, first + i) * load<Floats>(input + i * 3 * dim + column);
          u[gate] = load<Floats>(product + size_t(row) * 3 * dim + column);
        }
        const Floats reset = sigmoid(g[0] + u[0]), update = sigmoid(g[1] + u[1]);
        const Floats candidate =
            tanh_of(g[2] + reset * (u[2] + load<Floats>(candidate_bias + unit)));
        const Floats h = load<Floats>(before + row * dim + unit);
        store(after + row * dim + unit, candidate + update * (h - candidate));
      }
    shared_.barrier.arrive_and_wait();
  }

  void run_big_frame(const float* visual_gates) {
    const int dim = s_.dim;
    const float* before = shared_.big_state[big_now_].data;
    big_now_ ^= 1;
    float* after = shared_.big_state[big_now_].data;
    step(before, after, w_.big_recurrent, w_.big_candidate_bias, w_.big_input, 0, s_.big,
         visual_gates, size_t(3) * dim);
    prepare(after, s_.rows, dim);
    product(w_.big_up, s_.rows, dim, s_.ratio * dim, shared_.conditioning.data, false);
    shared_.barrier.arrive_and_wait();
    // conditioning_gates of all frame ticks: what is known before their own samples.
    prepare(shared_.conditioning.data, s_.rows * s_.ratio, dim);
    float* to = shared_.conditioning_gates.data;
    gate_product(w_.frame_conditioning, s_.rows * s_.ratio, [=](int row, int column, Floats y) {
      store(to + size_t(row) * 3 * dim + column, y);
    });
  }

  void run_frame(int frame) {
    const float* before = shared_.frame_state[frame_now_].data;
    frame_now_ ^= 1;
    float* after = shared_.frame_state[frame_now_].data;
    step(before, after, w_.frame_recurrent, w_.frame_candidate_bias, w_.frame_input,
         s_.big - s_.frame, s_.frame, shared_.conditioning_gates.data + size_t(frame) * 3 * s_.dim,
         size_t(s_.ratio) * 3 * s_.dim);
    prepare(after, s_.rows, s_.dim);
    product(w_.frame_up, s_.rows, s_.dim, s_.frame * s_.mlp, shared_.upsampled.data, false);
    shared_.barrier.arrive_and_wait();
  }

  void sample(int tick, int place, int frame, int i) {
    for (int row = 0; row < s_.rows; ++row) {
      const float* from = shared_.upsampled.data + (size_t(row) * s_.frame + i) * s_.mlp;
      const float* newest = table_row(s_.frame - 1, window_[(row + 1) * s_.big - 1]);
      for (int unit = 0; unit < s_.mlp; unit += kLanes) {
        const size_t at = size_t(row) * s_.mlp + unit;
        const Floats x = load<Floats>(older_.data + at) + load<Floats>(newest + unit);
        store(x_.data + at, relu(x + load<Floats>(from + unit)));
      }
    }
    prepare(x_.data, s_.rows, s_.mlp);
    product(w_.hidden, s_.rows, s_.mlp, s_.mlp, shared_.hidden.data, true);
    const int round = shared_.barrier.arrive();
    sum_older_levels(1);  // for the next sample, while the others arrive
    shared_.barrier.wait(round);
    prepare(shared_.hidden.data, s_.rows, s_.mlp);
    product(w_.output, s_.rows, s_.mlp, s_.levels, shared_.logits.data, false);
    shared_.barrier.arrive_and_wait();
    const int sample_in_big_frame = frame * s_.frame + i;
    choose(size_t(tick) * s_.big + sample_in_big_frame, place, sample_in_big_frame);
  }

  const float* table_row(int place, int level) const {
    return w_.tables + (size_t(place) * s_.levels + level) * s_.mlp;
  }

  // The part of the MLP's first sum that does not wait for the newest level: all but the last of
  // the levels that it reads once the window has moved on by `shift` levels.
  void sum_older_levels(int shift) {
    for (int row = 0; row < s_.rows; ++row) {
      const int32_t* window = window_.data() + (row + 1) * s_.big - s_.frame + shift;
      for (int unit = 0; unit < s_.mlp; unit += kLanes) {
        Floats x = {};
        for (int place = 0; place < s_.frame - 1; ++place)
          x += load<Floats>(table_row(place, window[place]) + unit);
        store(older_.data + size_t(row) * s_.mlp + unit, x);
      }
    }
  }

  // Draw the next level of each row, and shift the windows.
  void choose(size_t number, int place, int sample_in_big_frame) {
    const int samples = s_.per_frame * s_.big;
    const int column = place % s_.per_frame * s_.big + sample_in_big_frame;
    const bool single_row = s_.rows == 1;  // then every thread draws the level, which saves a barrier
    for (int row = single_row ? 0 : thread_; row < s_.rows; row += single_row ? 1 : threads_) {
      const size_t clip = first_row_ + row, at = number * s_.all_rows + clip;
      const float* noise = in_.noise + (size_t(place / s_.per_frame) * s_.all_rows + clip) * samples;
      const int forced = in_.forced == nullptr ? -1 : in_.forced[at];
      float nll;
      const int level = draw(shared_.logits.data + size_t(row) * s_.levels, noise[column], forced,
                             nll);
      if (single_row) push(row, level);
      else shared_.drawn[row] = level;
      if (single_row && thread_ != 0) continue;
      out_.levels[at] = static_cast<uint8_t>(level);
      out_.nll[at] = nll;
      if (out_.logits != nullptr)
        std::copy_n(shared_.logits.data + size_t(row) * s_.levels, s_.levels,
                    out_.logits + at * s_.levels);
    }
    if (single_row) return;
    shared_.barrier.arrive_and_wait();
    for (int row = 0; row < s_.rows; ++row) push(row, shared_.drawn[row]);
  }

  void push(int row, int level) {
    int32_t* window = window_.data() + row * s_.big;
    std::copy(window + 1, window + s_.big, window);
    window[s_.big - 1] = level;
  }

  // rng.inverse_cdf: the level at which the cumulative distribution passes `uniform`.
  int draw(const float* logits, float uniform, int forced, float& nll) const {
    alignas(64) float weights[256];
    float block[256 / kLanes];
    const float inverse = 1.0f / in_.temperature;
    Floats peaks = all(-INFINITY);
    for (int i = 0; i < s_.levels; i += kLanes) peaks = largest(peaks, load<Floats>(logits + i));
    const float peak = max_of(peaks);
    float total = 0.0f;
    for (int i = 0; i < s_.levels; i += kLanes) {
      const Floats weight = exp_of((load<Floats>(logits + i) - peak) * inverse);
      store(weights + i, weight);
      for (int past = s_.known_levels; past < i + kLanes; ++past)
        if (past >= i) weights[past] = 0.0f;  // padding
      block[i / kLanes] = sum_of(load<Floats>(weights + i));
      total += block[i / kLanes];
    }
    int level = forced;
    if (forced < 0) {
      const float target = uniform * total;
      float below = 0.0f;
      int first = 0;
      const int last = s_.levels / kLanes - 1;
      while (first < last && below + block[first] <= target) below += block[first++];
      level = first * kLanes;
      for (int i = 0; i < kLanes - 1; ++i, ++level) {
        below += weights[level];
        if (below > target) break;
      }
      level = std::min(level, s_.known_levels - 1);
    }
    nll = std::log(total) - (logits[level] - peak) * inverse;
    return level;
  }

  const Sizes s_;
  const Weights w_;
  const Inputs in_;
  const Outputs out_;
  Shared& shared_;
  const int first_row_, thread_, threads_;
  std::vector<int32_t> window_;
  Buffer older_, x_, prepared_;
  std::vector<float> scales_;
  int big_now_ = 0, frame_now_ = 0;
  int tile_rows_ = 0;  // that the tile registers are configured for
};

int usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return CPU_COUNT(&cores);
  return std::max(1u, std::thread::hardware_concurrency());
}

constexpr int kMaxThreads = 16;

// Small teams wait less, but each thread reads more of the weights: a gain only if all of them stay
// in the cache of its core.
size_t core_cache_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  return std::max(0L, sysconf(_SC_LEVEL2_CACHE_SIZE));
#else
  return 0;
#endif
}

int usable_threads(int most) {
  return std::clamp(std::min(usable_cores(), most), 1, kMaxThreads);
}

// The cores on which the threads of a call start. The kernel may put two of them on one core, and
// takes up to 20 ms to part them, in which each stops the other at every barrier.
class Cores {
 public:
  // Move this thread to a free core if another one has started on its core. It may go on anywhere.
  void settle() {
    cpu_set_t usable, only{};
    if (sched_getaffinity(0, sizeof usable, &usable) != 0) return;
    const int core = claim(usable);
    if (core < 0) return;
    CPU_SET(core, &only);
    sched_setaffinity(0, sizeof only, &only);
    sched_setaffinity(0, sizeof usable, &usable);
  }

 private:
  // Take this thread's core, or the next free one, which is returned; -1: stay.
  int claim(const cpu_set_t& usable) {
    const std::lock_guard lock(mutex_);
    const int here = sched_getcpu();
    for (int step = 0; here >= 0 && step < CPU_SETSIZE; ++step) {
      const int core = (here + step) % CPU_SETSIZE;
      if (!CPU_ISSET(core, &usable) || CPU_ISSET(core, &taken_)) continue;
      CPU_SET(core, &taken_);
      return step == 0 ? -1 : core;
    }
    return -1;
  }

  std::mutex mutex_;
  cpu_set_t taken_{};
};

// Run `work(worker)` on each thread of each team, with a worker for weights in this format.
template <typename Format, typename Work>
void on_threads(const Sizes& s, const Weights& w, const Inputs& in, const Outputs& out, int threads,
                int teams, Work work) {
  Cores cores;
  auto run = [&](Sizes sizes, Shared& of_team, int first_row, int thread, int size) {
    cores.settle();
    work(Worker<Format>(sizes, w, in, out, of_team, first_row, thread, size));
  };
  std::deque<Shared> shared;
  std::vector<std::thread> workers;  // all: tile registers must not outlive the call
  for (int team = 0; team < teams; ++team) {
    const Span rows = part_of(s.all_rows, team, teams), members = part_of(threads, team, teams);
    Sizes sizes = s;
    sizes.rows = rows.end - rows.begin;
    const int size = members.end - members.begin;
    Shared& of_team = shared.emplace_back(sizes, size);
    if (in.big_state != nullptr) {
      const size_t first = size_t(rows.begin) * s.dim;
      std::copy_n(in.big_state + first, sizes.rows * s.dim, of_team.big_state[0].data);
      std::copy_n(in.frame_state + first, sizes.rows * s.dim, of_team.frame_state[0].data);
    }
    for (int thread = 0; thread < size; ++thread)
      workers.emplace_back(run, sizes, std::ref(of_team), rows.begin, thread, size);
  }
  for (auto& worker : workers) worker.join();
}

// The same, with the format as an attribute of the call.
template <typename... Arguments>
void on_threads_as(int64_t format, const Arguments&... arguments) {
  if (format == Float32::kPer) on_threads<Float32>(arguments...);
  else if (format == BFloat16::kPer) on_threads<BFloat16>(arguments...);
  else on_threads<Int8>(arguments...);
}

constexpr int kFirstWeight = 8;  // arguments before the weights

ffi::Error Generate(ffi::RemainingArgs args, ffi::RemainingRets rets, int64_t big, int64_t frame,
                    int64_t known_levels, int64_t format) {
  auto dims = [&](int i) { return args.get<ffi::AnyBuffer>(i)->dimensions(); };
  auto raw = [&](int i) -> const void* { return args.get<ffi::AnyBuffer>(i)->untyped_data(); };
  auto floats = [&](int i) { return static_cast<const float*>(raw(i)); };
  auto ints = [&](int i) { return static_cast<const int32_t*>(raw(i)); };
  auto result = [&](int i) { return (*rets.get<ffi::AnyBuffer>(i))->untyped_data(); };

  Sizes s;
  s.all_rows = s.rows = dims(0)[0], s.dim = dims(0)[1];
  s.big = big, s.frame = frame, s.ratio = big / frame;
  s.known_levels = known_levels;
  s.per_frame = dims(4)[2] / big;
  s.per_vector = dims(4)[0] * s.per_frame / dims(3)[0];
  const auto tables = dims(kFirstWeight + 4);
  s.levels = tables[1], s.mlp = tables[2];

  Inputs in{floats(0), floats(1), ints(2), floats(3), floats(4), nullptr};
  if (dims(5)[0] != 0) in.forced = ints(5);
  in.temperature = *floats(6);
  in.ticks = ints(7)[0], in.offset = ints(7)[1];

  int next = kFirstWeight;
  size_t bytes = 0;
  Weights w;
  for (const float** part : {&w.big_input, &w.big_candidate_bias, &w.frame_input,
                             &w.frame_candidate_bias, &w.tables})
    *part = floats(next++);
  for (Product* p : {&w.big_recurrent, &w.big_up, &w.frame_conditioning, &w.frame_recurrent,
                     &w.frame_up, &w.hidden, &w.output}) {
    *p = {static_cast<const uint8_t*>(raw(next)), floats(next + 1), ints(next + 2),
          floats(next + 3)};
    bytes += args.get<ffi::AnyBuffer>(next)->size_bytes();
    next += 4;
  }

  Outputs out{static_cast<float*>(result(0)),   static_cast<float*>(result(1)),
              static_cast<int32_t*>(result(2)), static_cast<uint8_t*>(result(3)),
              static_cast<float*>(result(4)),   nullptr};
  if ((*rets.get<ffi::AnyBuffer>(5))->dimensions()[0] != 0)
    out.logits = static_cast<float*>(result(5));

  const int teams = bytes <= core_cache_bytes() ? usable_threads(s.all_rows) : 1;
  const int threads = usable_threads(teams * (s.dim / kGroup));
  on_threads_as(format, s, w, in, out, threads, teams, [](auto&& worker) { worker.run(); });
  return ffi::Error::Success();
}

ffi::Error Multiply(ffi::AnyBuffer weights, ffi::Buffer<ffi::F32> scales,
                    ffi::Buffer<ffi::S32> totals, ffi::Buffer<ffi::F32> bias,
                    ffi::ResultBuffer<ffi::F32> sums, int64_t rows, int64_t turns,
                    int64_t format) {
  const int groups = weights.dimensions()[0], width = weights.dimensions()[1] * format;
  Sizes s{};
  s.all_rows = s.rows = rows, s.frame = s.ratio = 1, s.dim = s.mlp = width;
  const Product p{static_cast<const uint8_t*>(weights.untyped_data()), scales.typed_data(),
                  totals.typed_data(), bias.typed_data()};
  float* to = sums->typed_data();
  std::fill_n(to, sums->element_count(), 0.0f);
  on_threads_as(format, s, Weights{}, Inputs{}, Outputs{}, usable_threads(groups), 1,
                [&](auto&& worker) { worker.multiply_only(p, groups, turns, to); });
  return ffi::Error::Success();
}

}  // namespace v2s

XLA_FFI_DEFINE_HANDLER_SYMBOL(V2sGenerate, v2s::Generate,
                              ffi::Ffi::Bind()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<int64_t>("big_frame_size")
                                  .Attr<int64_t>("frame_size")
                                  .Attr<int64_t>("q_levels")
                                  .Attr<int64_t>("rows_per_lane"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(V2sMultiply, v2s::Multiply,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>()
                                  .Attr<int64_t>("rows")
                                  .Attr<int64_t>("turns")
                                  .Attr<int64_t>("rows_per_lane"));

/* Ends the program with a message, before main, on a CPU that lacks what the build assumes.
 *
 * C and not Rust, because what checks must not need what it checks for: Rust code is all built for the
 * baseline, where even a copy of 16 bytes is an instruction of AVX, and so is Rust's own start before main.
 * build.rs has this file compiled for any x86-64, and for its general registers alone.
 *
 * The bits are those of Intel's Software Developer's Manual, volume 2A, CPUID, and for lzcnt of AMD's
 * Architecture Programmer's Manual, volume 3, appendix E.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* The registers that have them. */
enum answer { LEAF_1_ECX, LEAF_7_EBX, EXTENDED_1_ECX, ANSWERS };

static const struct {
	const char *name;
	enum answer answer;
	unsigned bit;
} features[] = {
#define FEATURE(name, answer, bit) { name, answer, 1u << (bit) },
	ASSUMED_FEATURES
};

#define OSXSAVE (1u << 27)
/* XCR0: the operating system saves the registers of SSE and the upper halves of AVX. */
#define SSE_AND_AVX_STATE 6u

static void ask(unsigned answers[ANSWERS])
{
	unsigned eax, ebx, ecx, edx;

	if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
		answers[LEAF_1_ECX] = ecx;
	if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		answers[LEAF_7_EBX] = ebx;
	if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx))
		answers[EXTENDED_1_ECX] = ecx;
}

static int avx_state_is_saved(unsigned leaf_1_ecx)
{
	unsigned low, high;

	if (!(leaf_1_ecx & OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & SSE_AND_AVX_STATE) == SSE_AND_AVX_STATE;
}

static void say(const char *text)
{
	/* There is nobody to tell that nothing can be told. */
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

static int say_missing(int count, const char *name)
{
	if (count == 0) {
		say(program_invocation_short_name);
		say(": this build needs " NEEDED_CPU " (missing: ");
	} else {
		say(", ");
	}
	say(name);
	return count + 1;
}

__attribute__((constructor(101))) static void guideway_baseline_check(void)
{
	unsigned answers[ANSWERS] = { 0 };
	int missing = 0;

	ask(answers);
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (!(answers[features[i].answer] & features[i].bit))
			missing = say_missing(missing, features[i].name);
	if (missing == 0 && ASSUMES_AVX && !avx_state_is_saved(answers[LEAF_1_ECX]))
		missing = say_missing(missing, "AVX registers saved by the operating system");
	if (missing == 0)
		return;
	say("); build it with ci/build.sh --portable for this machine\n");
	_exit(1);
}

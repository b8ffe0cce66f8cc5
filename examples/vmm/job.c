/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the job block before anything uses it. */
#include "job.h"

#include "platform.h"

static bool range_fits(const struct job *job, uint64_t offset, uint64_t length)
{
	return offset >= sizeof(*job) && offset <= job->total_size && length <= job->total_size - offset;
}

static bool file_is_sound(const struct job *job, const struct job_file *file)
{
	if (!range_fits(job, file->offset, file->length) || file->length == 0)
		return false;
	if (!file->text_offset)
		return true;
	return file->text_length < job->total_size &&
	       range_fits(job, file->text_offset, file->text_length + 1) &&
	       ((const char *)job)[file->text_offset + file->text_length] == '\0';
}

static const char *complaint(const struct job *job)
{
	if (job->magic != JOB_MAGIC)
		return "there is none; start this through scripts/run-guest";
	if (job->version != JOB_VERSION)
		return "its version is not this program's";
	if (job->file_count == 0 || job->file_count > JOB_MAX_FILES)
		return "it names no file, or too many";
	if (job->vcpus == 0 || job->vcpus > JOB_MAX_VCPUS)
		return "it asks for no vCPU, or for too many";
	if (job->host_cpus == 0 || job->host_cpus > JOB_MAX_HOST_CPUS)
		return "it asks for no CPU of this machine, or for too many";
	if (job->host_memory <= JOB_ADDRESS || job->total_size > job->host_memory - JOB_ADDRESS)
		return "it ends behind the host's memory";
	for (uint32_t i = 0; i < job->file_count; i++) {
		if (!file_is_sound(job, &job->files[i]))
			return "a file in it is cut short";
	}
	return NULL;
}

const struct job *job_open(uint64_t address, const char **why)
{
	const struct job *job = (const struct job *)(uintptr_t)address;

	*why = complaint(job);
	return *why ? NULL : job;
}
